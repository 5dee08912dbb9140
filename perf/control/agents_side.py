"""The nodes' half: hundreds of simulated agents in one process, each with its own TLS connection."""

import asyncio
import gc
import random
import ssl
import sys
import time
from contextlib import suppress
from pathlib import Path
from sys import intern

import aiohttp
import msgspec
from perf.control.operator_side import answer, rss_mib, summary
from perf.control.plan import Plan

from weft_contract.stream import Ack, Update
from weft_testing.stream_agent import StreamAgent

CONNECT_S = 60.0


class Node(StreamAgent):
    """One node, which shares its keys with all others."""

    def apply(self, parts: list[Update]) -> Ack:
        """Take over an update."""
        for part in parts:
            for key, version, _ in part.upserts:
                self.held[intern(key)] = intern(version)
            for key in part.removes:
                self.held.pop(key, None)
        return Ack(nonce=parts[-1].nonce)


class Nodes:
    """All of them.

    Args:
        plan: how many.
        port: of the operator.
        roots: that its certificate comes from.
    """

    def __init__(self, plan: Plan, port: int, roots: Path) -> None:
        self._url = f"https://127.0.0.1:{port}"
        self._tls = ssl.create_default_context(cafile=str(roots))
        self.agents = [Node(f"node{number}") for number in range(plan.nodes)]
        self.synced: list[float] = []
        self.turned_away = 0
        self._begun = time.monotonic()
        self._all = asyncio.Event()

    async def run(self) -> None:
        """Keep every node connected until cancelled."""
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http, asyncio.TaskGroup() as group:
            for agent in self.agents:
                group.create_task(self._keep(http, agent))
            group.create_task(self._report())

    async def _keep(self, http: aiohttp.ClientSession, agent: Node) -> None:
        while True:
            wait_s = 1.0
            try:
                await self._serve(http, agent)
            except aiohttp.WSServerHandshakeError as exc:
                self.turned_away += 1
                wait_s = float(exc.headers.get("Retry-After", "1")) if exc.headers is not None else 1.0
            except (aiohttp.ClientError, OSError, TimeoutError):
                self.turned_away += 1
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))

    async def _serve(self, http: aiohttp.ClientSession, agent: Node) -> None:
        async with agent.connected(http, self._url, tls=self._tls):
            while isinstance(await agent.next_update(timeout_s=3600.0), list):
                if agent.updates == 1:
                    self.synced.append(time.monotonic() - self._begun)
                    if len(self.synced) == len(self.agents):
                        gc.collect()
                        gc.freeze()  # a stand-in for two hundred processes must not stop for all of them
                        self._all.set()

    async def _report(self) -> None:
        await self._all.wait()
        answer(
            {
                "synced_s": summary(self.synced),
                "turned_away": self.turned_away,
                "bytes_per_node": sum(agent.received_bytes for agent in self.agents) / len(self.agents),
                "resources_per_node": sum(len(agent.held) for agent in self.agents) / len(self.agents),
                "rss_mib": rss_mib(),
            }
        )


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(Nodes(msgspec.json.decode(sys.argv[1], type=Plan), int(sys.argv[2]), Path(sys.argv[3])).run())
