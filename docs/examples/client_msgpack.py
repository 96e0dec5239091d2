#!/usr/bin/env python3
"""The client of client.py in MessagePack: joins, sends a ship 50 m along, and sees it arrive.

    pip install websockets msgpack
    python client_msgpack.py http://127.0.0.1:7400

Written from docs/protocol.md. The messages are those of JSON, named alike; type, handle and
tick stand in the eight bytes before them, and what is long comes deflated.
"""
import json
import secrets
import struct
import sys
import time
import urllib.request
import zlib

import msgpack
from websockets.sync.client import connect

NUMBERS = {"connect": 0x30, "subscribe": 0x33, "moveFleet": 0x01}
NAMES = {0x10: "stateDelta", 0x22: "ack", 0x31: "connected", 0x38: "keyframe", 0x3A: "error"}


def say(kind, handle=0, **fields):
    ws.send(struct.pack("<HIH", NUMBERS[kind], handle, 0) + msgpack.packb(fields))


def hear():
    """The next message: its type's name, handle and tick, and its fields."""
    message = ws.recv(timeout=15)
    kind, handle, tick = struct.unpack_from("<HIH", message)
    deflated, payload = kind & 0x8000, message[8:]
    fields = msgpack.unpackb(zlib.decompress(payload, wbits=-15) if deflated else payload)
    return NAMES.get(kind & 0xFF), handle, tick, fields


def wait_for(kind):
    """The next message of this type; the server's other messages pass by."""
    while (message := hear())[0] != kind:
        if message[0] == "error":
            sys.exit(f"the server says: {message[3]['answer']}")
    return message[1:]


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

with connect(url.replace("http", "ws", 1) + "/ws", subprotocols=["starmesh.msgpack.v1"]) as ws:
    say("connect", token=token)
    _, _, connected = wait_for("connected")
    sector = connected["presence"][0]["sector"]
    say("subscribe", area={"sectors": [sector]})
    handle, _, keyframe = wait_for("keyframe")
    cells = [block["content"]["keyframe"]["units"] for block in keyframe["blocks"]]
    ship = next(unit for unit in sum(cells, []) if unit["owner"] == connected["player"])

    start = dict(ship["position"])
    x, y = start["x"], start["y"]  # in grid steps of 0.954 mm
    aside = x + (52_429 if x < 524_288 else -52_429)
    target = {"sector": sector, "x": aside * 4096, "y": y * 4096}
    say("moveFleet", handle, sequence=1, time=int(time.time() * 1000), units=[ship["id"]],
        target={"position": target})
    _, _, ack = wait_for("ack")
    arrival, tick = ack["arrival"] or sys.exit(f"refused: {ack['error']}"), ack["effectTick"]
    print(f"the ship is at x {x} and will be at x {arrival['x']} after {arrival['steps']} steps")

    while ship["position"] == start or ship["course"]["steps"] > 0:
        _, low, delta = wait_for("stateDelta")  # `low`: the low 16 bits of its tick
        before, tick = tick, tick + (low - tick) % 65_536
        for _ in range(min(tick // 2 - before // 2, ship["course"]["steps"])):
            ship["position"]["x"] += ship["course"]["vx"]
            ship["position"]["y"] += ship["course"]["vy"]
            ship["course"]["steps"] -= 1
        for news in news_of(ship, delta):
            ship |= news
            for axis, off in zip("xy", news.get("positionDelta", (0, 0))):
                ship["position"][axis] += off
    print(f"it stands at x {ship['position']['x']} at tick {tick}")
