"""Python's `aiohttp` against the server at the URL in the first argument: WebSocket and plain HTTP. Says `ok`."""

import asyncio
import sys

import aiohttp

URL = sys.argv[1]
HTTP = URL.replace("ws://", "http://")


async def messages(session):
    async with session.ws_connect(URL, compress=15, max_msg_size=0, protocols=["chat"]) as ws:
        assert not ws.compress and ws.protocol == "chat", (ws.compress, ws.protocol)
        for message in ["", "Grüße 🌍", "x" * 126, "z" * 65536, "w" * (1 << 20)]:
            await ws.send_str(message)
            assert await ws.receive_str() == message, len(message)
        for message in [b"", bytes(range(256)), b"\xff" * 70000]:
            await ws.send_bytes(message)
            assert await ws.receive_bytes() == message, len(message)
        await ws.close(code=4000, message=b"enough")
        assert ws.close_code == 4000, ws.close_code


async def pings(session):
    async with session.ws_connect(URL, autoping=False, heartbeat=None) as ws:
        await ws.ping(b"are you there")
        message = await ws.receive()
        assert (message.type, bytes(message.data)) == (aiohttp.WSMsgType.PONG, b"are you there"), message


async def heartbeat(session):
    """This client closes when a Pong does not come; it looks at Pongs only while it receives."""
    async with session.ws_connect(URL, heartbeat=0.6) as ws:

        async def speak_late():
            await asyncio.sleep(2)
            await ws.send_str("still here")

        speaking = asyncio.create_task(speak_late())
        assert await ws.receive_str() == "still here"
        await speaking


async def plain(session):
    async with session.get(HTTP) as response:
        text = await response.text()
        assert response.status == 426, response.status
        assert response.headers["Upgrade"] == "websocket", response.headers
        assert response.headers["Sec-WebSocket-Version"] == "13", response.headers
        assert "WebSocket" in text, text
    async with session.get(HTTP + "healthz") as response:
        assert response.status == 200, response.status
    async with session.post(HTTP, data=b"hello") as response:
        assert response.status in (400, 405), response.status


async def one_of_many(session, number):
    async with session.ws_connect(URL) as ws:
        await ws.send_str(str(number))
        assert await ws.receive_str() == str(number)


async def main():
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await messages(session)
        await pings(session)
        await heartbeat(session)
        await plain(session)
        await asyncio.gather(*(one_of_many(session, number) for number in range(100)))


asyncio.run(asyncio.wait_for(main(), 60))
print("ok")
