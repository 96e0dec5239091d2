#!/usr/bin/env python3
"""A whole Starmesh client: joins, moves a ship, and watches it arrive.

    pip install websockets
    python client.py http://127.0.0.1:7400

Written from docs/protocol.md. Exits with 0 when the ship stands where the
server's acknowledgement said it would.
"""
import json
import secrets
import sys
import time
import urllib.request

from websockets.sync.client import connect


def post(url, body):
    head = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), head)
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def step(unit, steps):
    """Moves a unit on its course: see "Movement"."""
    position, course = unit["position"], unit["course"]
    for _ in range(min(steps, course["steps"])):
        position["x"] += course["vx"]
        position["y"] += course["vy"]
        course["steps"] -= 1
    if course["steps"] == 0:
        course.update(vx=0, vy=0)
        unit["state"] &= ~1


def main(url):
    name = "py-" + secrets.token_hex(6)
    account = {"name": name, "email": f"{name}@example.org", "password": secrets.token_hex(12)}
    token = post(url + "/api/auth/register", account)["accessToken"]
    socket = url.replace("http", "ws", 1) + "/ws"
    with connect(socket, subprotocols=["starmesh.json.v1"]) as ws:
        play(ws, token)


def play(ws, token):
    send = lambda **message: ws.send(json.dumps(message))
    send(type="connect", token=token)

    player = sector = handle = arrival = ship = None
    units, now, deadline = {}, 0, time.monotonic() + 120
    while time.monotonic() < deadline:
        message = json.loads(ws.recv(timeout=15))
        kind = message["type"]
        if kind == "connected":
            player, sector = message["player"], message["presence"][0]["sector"]
            send(type="subscribe", area={"sectors": [sector]})
        elif kind == "subscribed":
            handle = message["handle"]
        elif kind == "keyframe" and message["handle"] == handle:
            now, units = message["fullTick"], {u["id"]: u for u in message["units"]}
            if ship is None:  # the first keyframe: send the first own ship 50 m along x
                ship = min(id for id, unit in units.items() if unit["owner"] == player)
                x, y = (units[ship]["position"][axis] for axis in "xy")
                x += 52_429 if x < 524_288 else -52_429
                target = {"position": {"sector": sector, "x": x * 4096, "y": y * 4096}}
                send(type="moveFleet", handle=handle, sequence=1, time=int(time.time() * 1000),
                     units=[ship], target=target)
        elif kind == "stateDelta" and message["handle"] == handle:
            tick = now + (message["tick"] - now) % 65536  # the header has its low 16 bits
            for unit in units.values():
                step(unit, tick // 2 - now // 2)
            now = tick
            units.update((unit["id"], unit) for unit in message["units"])
            for gone in message["removed"]:
                units.pop(gone, None)
        elif kind == "ack":
            arrival = message["arrival"] or sys.exit(f"refused: {message['error']}")
            print(f"the ship will arrive at {arrival} after tick {message['effectTick']}")
        elif kind == "error":
            sys.exit(f"error: {message}")
        there = ship in units and arrival and units[ship]["position"]
        if there and units[ship]["course"]["steps"] == 0 and there["x"] == arrival["x"]:
            return print(f"it stands at {there} at tick {now}")
    sys.exit("it did not arrive")


main(sys.argv[1].rstrip("/"))
