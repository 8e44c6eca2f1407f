"""Round trips between two hosts over a TCP port that nobody guards: what the network alone does.

Runs on hosts that have nothing of ours, like the writer. `server PORT` gives back every line; `client
HOST PORT INTERVAL_S` sends one every INTERVAL_S, gives up and comes back exactly as the writer does,
and says of each round trip what the writer says of a write: ["echo", number, sent, received, HOST, 0].
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time

from rehearsal.attempts import first_of

OPTIONS = (  # those of `service=writer`, as docs/clients.md advises
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000),
)


async def serve(port: int) -> None:
    async def give_back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(line)
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(give_back, None, port)
    async with server:
        await server.serve_forever()


async def ask(host: str, port: int, interval_s: float) -> None:
    number = 0
    while True:
        reader, writer = await first_of(
            lambda: asyncio.open_connection(host, port), lambda both: both[1].close(), (OSError,), interval_s
        )
        try:
            for option in OPTIONS:
                writer.get_extra_info("socket").setsockopt(*option)
            while True:
                tick = time.monotonic()
                number += 1
                sent = time.time()
                writer.write(b"%d\n" % number)
                if not await reader.readline():
                    raise ConnectionResetError
                print(json.dumps(["echo", number, sent, time.time(), host, 0]), flush=True)
                await asyncio.sleep(max(0.0, interval_s - (time.monotonic() - tick)))
        except OSError:
            writer.close()
            await asyncio.sleep(max(0.0, interval_s - (time.monotonic() - tick)))


async def main(kind: str, *words: str) -> None:
    work = serve(int(words[0])) if kind == "server" else ask(words[0], int(words[1]), float(words[2]))
    task = asyncio.create_task(work)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1].split()))
