"""Connects to the URL in the first argument, says `open`, and prints the code of the Close that comes."""

import asyncio
import sys

import websockets
from websockets.asyncio.client import connect


async def main():
    async with connect(sys.argv[1]) as ws:
        print("open", flush=True)
        try:
            await ws.recv()
        except websockets.ConnectionClosed as error:
            print(error.rcvd.code, flush=True)


asyncio.run(asyncio.wait_for(main(), 60))
