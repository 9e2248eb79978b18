"""An echo server of Python's `websockets`. Says its port; when stdin ends, what its connections came to, as JSON.

Arguments: `echo`; `refuse` (429 instead of an upgrade); `small` (messages of 16 bytes at most); `wrong` (another
answer than the echo); `full` (a Close with a reason instead of an echo)."""

import asyncio
import collections
import http
import json
import sys

import websockets
from websockets.asyncio.server import serve

HOW = sys.argv[1]
CLOSES = collections.Counter()
SEEN = {"pongs": 0, "extensions": 0, "subprotocols": []}


async def handle(ws):
    SEEN["extensions"] += len(ws.protocol.extensions)
    if ws.subprotocol:
        SEEN["subprotocols"].append(ws.subprotocol)
    try:
        await (await ws.ping(b"before anything"))
        SEEN["pongs"] += 1
        async for message in ws:
            if HOW == "full":
                await ws.close(1013, "this room is full")
                break
            await ws.send(b"something else" if HOW == "wrong" else message)
    except websockets.ConnectionClosed:
        pass
    close = ws.protocol.close_rcvd
    CLOSES[str(close.code) if close else "none"] += 1


def refuse(connection, request):
    return connection.respond(http.HTTPStatus.TOO_MANY_REQUESTS, "not now\n") if HOW == "refuse" else None


def select(connection, offered):
    return "chat" if "chat" in offered else None


async def main():
    options = {"max_size": 16} if HOW == "small" else {}
    # Compression is left on, as it is by default; pings go on during the hold.
    async with serve(handle, "127.0.0.1", 0, ping_interval=0.2, ping_timeout=20, backlog=4096,
                     select_subprotocol=select, process_request=refuse, **options) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        # Who is on its way out may get there.
        await asyncio.sleep(0.5)
    SEEN["subprotocols"] = sorted(set(SEEN["subprotocols"]))
    print(json.dumps({"closes": CLOSES, **SEEN}), flush=True)


asyncio.run(main())
