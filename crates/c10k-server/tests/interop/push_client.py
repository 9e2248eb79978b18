"""Python's `websockets` as a viewer, or a follower, of the server at the URL in the first argument; the second is what to
ask for: play or follow. Says `ok` at its end."""

import asyncio
import struct
import sys

from websockets.asyncio.client import connect

URL, WORD = sys.argv[1:3]
KINDS = {"play": 1, "follow": 2}


def header(message):
    magic, kind, flags, _, sequence, server_us, size = struct.unpack(">4sBBHQQI4x", message[:32])
    assert (magic, kind, size) == (b"c10k", KINDS[WORD], len(message) - 32), message[:32]
    return flags & 1 == 1, sequence, server_us


async def main():
    async with connect(URL, compression=None) as ws:
        await ws.send("hello")
        assert await ws.recv() == "hello"
        await ws.send(WORD)
        seen = []
        while not seen or not seen[-1][0]:
            message = await ws.recv()
            assert isinstance(message, bytes), message
            seen.append(header(message))
            if WORD == "follow" and len(seen) == 3:
                await ws.send("leave")
        sequences = [sequence for _, sequence, _ in seen]
        first = sequences[0]
        if WORD == "play":
            assert sequences == list(range(len(seen))), sequences
        else:
            # The last frame answers `leave`: it has the number of the last message.
            assert sequences == list(range(first, first + len(seen) - 1)) + sequences[-2:-1], sequences
        await ws.send(b"\xff again")
        assert await ws.recv() == b"\xff again"
        await (await ws.ping(b"there"))
    print("ok")


asyncio.run(asyncio.wait_for(main(), 60))
