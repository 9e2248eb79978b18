"""Python's `websockets` against the server at the URL in the first argument. Says `ok` at its end."""

import asyncio
import sys

import websockets
from websockets.asyncio.client import connect

URL = sys.argv[1]


async def messages():
    # Compression is offered, as this client always does, and must not be taken.
    async with connect(URL, max_size=None) as ws:
        assert ws.protocol.extensions == [], ws.protocol.extensions
        for message in ["", "Grüße 🌍", "x" * 125, "x" * 126, "y" * 65535, "z" * 65536, "w" * (1 << 20)]:
            await ws.send(message)
            assert await ws.recv() == message, len(message)
        for message in [b"", bytes(range(256)), b"\xff" * 70000]:
            await ws.send(message)
            assert await ws.recv() == message, len(message)
        # An iterable goes out in fragments.
        await ws.send(["frag", "", "men", "ted ♥"])
        assert await ws.recv() == "fragmented ♥"
        await (await ws.ping(b"are you there"))
        for number in range(500):
            await ws.send(str(number))
        for number in range(500):
            assert await ws.recv() == str(number)
        await ws.close(3001, "that was all")
    assert (ws.close_code, ws.protocol.close_rcvd.code) == (3001, 3001), ws.protocol.close_rcvd


async def too_big():
    async with connect(URL, compression=None) as ws:
        await ws.send(b"x" * ((1 << 20) + 1))
        try:
            await ws.recv()
            raise AssertionError("a message over the limit was echoed")
        except websockets.ConnectionClosedError as error:
            assert error.rcvd.code == 1009, error


async def subprotocol():
    async with connect(URL, subprotocols=["unknown", "chat"]) as ws:
        assert ws.subprotocol == "chat", ws.subprotocol


async def one_of_many(number):
    async with connect(URL) as ws:
        for turn in range(5):
            await ws.send(f"{number}.{turn}")
            assert await ws.recv() == f"{number}.{turn}"


async def main():
    await messages()
    await too_big()
    await subprotocol()
    await asyncio.gather(*(one_of_many(number) for number in range(100)))


asyncio.run(asyncio.wait_for(main(), 60))
print("ok")
