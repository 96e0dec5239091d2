#!/usr/bin/env python3
"""A Starmesh client: joins, sends a ship 50 m along, and sees it arrive.

    pip install websockets && python client.py http://127.0.0.1:7400

Written from docs/protocol.md. It leaves out what a game needs besides: coming
back after a lost connection, repeating commands, noticing missed messages.
"""
import json
import secrets
import sys
import time
import urllib.request

from websockets.sync.client import connect


def wait_for(kind):
    """The next message of this type; the server's other messages pass by."""
    while (message := json.loads(ws.recv(timeout=15)))["type"] != kind:
        if message["type"] == "error":
            sys.exit(f"the server says: {message['answer']}")
    return message


def news_of(ship, message):
    """Whole records of the ship, and changes, which hold after the step's movement."""
    for content in (next(iter(block["content"].values())) for block in message["blocks"]):
        records = content.get("units", []) + content.get("appeared", [])
        yield from (record for record in records if record["id"] == ship["id"])
        yield from (it for it in content.get("changed", []) if it["unitId"] == ship["id"])


url = sys.argv[1].rstrip("/")
name = "py-" + secrets.token_hex(6)
account = {"name": name, "email": f"{name}@example.org", "password": secrets.token_hex(12)}
request = urllib.request.Request(url + "/api/auth/register", json.dumps(account).encode(),
                                 {"Content-Type": "application/json"})
token = json.load(urllib.request.urlopen(request, timeout=10))["accessToken"]

with connect(url.replace("http", "ws", 1) + "/ws", subprotocols=["starmesh.json.v1"]) as ws:
    ws.send(json.dumps({"type": "connect", "token": token}))
    connected = wait_for("connected")
    sector = connected["presence"][0]["sector"]
    ws.send(json.dumps({"type": "subscribe", "area": {"sectors": [sector]}}))
    keyframe = wait_for("keyframe")
    cells = [block["content"]["keyframe"]["units"] for block in keyframe["blocks"]]
    ship = next(unit for unit in sum(cells, []) if unit["owner"] == connected["player"])

    start = dict(ship["position"])
    x, y = start["x"], start["y"]  # in grid steps of 0.954 mm
    aside = x + (52_429 if x < 524_288 else -52_429)
    target = {"sector": sector, "x": aside * 4096, "y": y * 4096}
    ws.send(json.dumps({"type": "moveFleet", "handle": keyframe["handle"], "sequence": 1,
                        "time": int(time.time() * 1000), "units": [ship["id"]],
                        "target": {"position": target}}))
    ack = wait_for("ack")
    arrival, tick = ack["arrival"] or sys.exit(f"refused: {ack['error']}"), ack["effectTick"]
    print(f"the ship is at x {x} and will be at x {arrival['x']} after {arrival['steps']} steps")

    while ship["position"] == start or ship["course"]["steps"] > 0:
        delta = wait_for("stateDelta")  # has the low 16 bits of its tick
        before, tick = tick, tick + (delta["tick"] - tick) % 65_536
        for _ in range(min(tick // 2 - before // 2, ship["course"]["steps"])):
            ship["position"]["x"] += ship["course"]["vx"]
            ship["position"]["y"] += ship["course"]["vy"]
            ship["course"]["steps"] -= 1
        for news in news_of(ship, delta):
            ship |= news
            for axis, off in zip("xy", news.get("positionDelta", (0, 0))):
                ship["position"][axis] += off
    print(f"it stands at x {ship['position']['x']} at tick {tick}")
