"""An HTTP service that answers nobody for half a second of every five, by the clock, and else after 20 ms. Usage: stalling.py PORT"""

import asyncio
import sys
import time

EVERY, STALLS, TAKES = 5.0, 0.5, 0.02
REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n"


def held(now):
    """Seconds for which a request that comes now is not looked at."""
    return max(0.0, STALLS - now % EVERY)


def quantile(share):
    """Of the latency of requests that come evenly, or at random, over whole periods: known from the schedule alone."""
    return TAKES + max(0.0, share - (1 - STALLS / EVERY)) * EVERY


async def serve(reader, writer):
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(held(time.monotonic()) + TAKES)
            writer.write(REPLY)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main(port):
    server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
