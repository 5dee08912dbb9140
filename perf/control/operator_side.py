"""The operator's half: compiler, feed, hub and streams as a replica puts them together, fed without an API server.

A process that reads one JSON command per line and answers with one line: what the reflectors would bring comes from
`weft_testing.scale` instead, decoded and checked in the same way.
"""

import asyncio
import resource
import sys
import time
from pathlib import Path
from statistics import quantiles

import msgspec
from aiohttp import web
from perf.control.plan import Plan
from prometheus_client import Histogram

from weft_contract.stream import SERVER_NAME
from weft_operator.ca import Authority, create_intermediate, create_root
from weft_operator.compile import Held
from weft_operator.compile.view import ObjectKey
from weft_operator.distribution import Hub, HubMetrics, StreamEndpoint
from weft_operator.live import Engine
from weft_operator.reflect import Feed, Round
from weft_operator.server import collector
from weft_operator.server.certificate import ServerTls
from weft_operator.server.listen import HttpServer
from weft_operator.server.settings import Address
from weft_testing.live import held
from weft_testing.scale import Scale
from weft_testing.stream_agent import OpenDoor

TRUST_DOMAIN = "cluster.local"


class Samples(Histogram):
    """A histogram that keeps every sample."""

    def __init__(self) -> None:
        super().__init__("lag_seconds", "From a change to its being in force.", registry=None)
        self.seconds: list[float] = []

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """Keep one."""
        self.seconds.append(amount)


class Operator:
    """What is measured."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.scale = Scale(services=plan.services, replicas=plan.replicas, nodes=plan.nodes)
        self.metrics = HubMetrics()
        self.lags = Samples()
        self.metrics.lag = self.lags
        self.hub = Hub(metrics=self.metrics)
        self.feed = Feed(Engine(), self._publish)
        self.rounds: list[Round] = []
        self._generations: dict[int, list[int]] = {}
        self._next = 0

    def _publish(self, found: Round) -> None:
        self.hub.apply(found.delta, found.since)
        self.rounds.append(found)

    async def start(self, roots_file: Path) -> dict[str, object]:
        """Compile everything and listen."""
        begun = time.monotonic()
        objects = {item.key: item for item in map(held, self.scale.documents())}
        read_s = time.monotonic() - begun
        root = create_root(TRUST_DOMAIN, now_unix_s=time.time())
        authority = Authority(create_intermediate(root, TRUST_DOMAIN, now_unix_s=time.time()), TRUST_DOMAIN)
        await asyncio.to_thread(roots_file.write_bytes, root.certificate_pem)
        tls = ServerTls(lambda key, names, now: authority.issue_server(key, names, now_unix_s=now), [SERVER_NAME])
        tls.renew()
        self.feed.put(objects)
        self.feed.set_bundles({TRUST_DOMAIN: (root.certificate_pem.decode(),)})
        self.feed.open()
        self._feeding = asyncio.create_task(self.feed.run())
        await self.feed.compiled.wait()
        collector.settle()
        application = web.Application()
        application.add_routes(StreamEndpoint(self.hub, OpenDoor()).routes())
        self._server = HttpServer(application, Address("127.0.0.1", 0), tls.context)
        await self._server.start()
        return {
            "port": self._server.port,
            "objects": len(objects),
            "read_s": read_s,
            "compile_s": self.rounds[0].compile_s,
            "rss_mib": rss_mib(),
        }

    async def settled(self) -> dict[str, object]:
        """Wait until every node is connected and up to date."""
        begun = time.monotonic()
        while len(self.hub.nodes) < self.plan.nodes or any(node.behind for node in self.hub.nodes):  # noqa: ASYNC110 - see below
            await asyncio.sleep(0.05)  # the hub tells nobody that nothing is left to do
        return {"waited_s": time.monotonic() - begun, "rss_mib": rss_mib(), "sent_mib": self._sent_mib()}

    async def change(self) -> dict[str, object]:
        """Replace endpoints at a steady rate."""
        self.lags.seconds.clear()
        self.rounds.clear()
        cpu, sent, begun = time.process_time(), self._sent_mib(), time.monotonic()
        total = round(self.plan.seconds * self.plan.rate)
        for number in range(total):
            late_s = begun + number / self.plan.rate - time.monotonic()
            await asyncio.sleep(max(0.0, late_s))
            self.feed.put(self._replaced())
        changed_s = time.monotonic() - begun
        cpu_share = (time.process_time() - cpu) / changed_s
        await asyncio.sleep(1.0)
        await self.settled()
        return {
            "changes": total,
            "seconds": changed_s,
            "rounds": len(self.rounds),
            "compile_s": summary([found.compile_s for found in self.rounds]),
            "lag_s": summary(self.lags.seconds),
            "updates": len(self.lags.seconds),
            "cpu_share": cpu_share,
            "sent_kib_per_node_per_s": (self._sent_mib() - sent) * 1024 / self.plan.nodes / changed_s,
            "rss_mib": rss_mib(),
        }

    def _replaced(self) -> dict[ObjectKey, Held | None]:
        """Let one pod be replaced, of another Service each time."""
        service, replica = self._next * 7 % self.plan.services, self._next % self.plan.replicas
        self._next += 1
        generations = self._generations.setdefault(service, [0] * self.plan.replicas)
        old = held(self.scale.pod(service, replica, generations[replica])).key
        generations[replica] += 1
        new = held(self.scale.pod(service, replica, generations[replica]))
        slice_ = held(self.scale.slice(service, tuple(generations)))
        return {old: None, new.key: new, slice_.key: slice_}

    def _sent_mib(self) -> float:
        return float(self.metrics.sent_bytes._value.get()) / 2**20


def rss_mib() -> float:
    """Return what the process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def summary(seconds: list[float]) -> dict[str, float]:
    """Return quantiles."""
    if len(seconds) < 2:
        return {"count": len(seconds)}
    cuts = quantiles(seconds, n=1000, method="inclusive")
    return {"p50": cuts[499], "p90": cuts[899], "p99": cuts[989], "max": max(seconds)}


async def serve(plan: Plan, roots_file: Path) -> None:
    """Answer commands until there are no more."""
    operator = Operator(plan)
    answer(await operator.start(roots_file))
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while command := (await lines.readline()).decode().strip():
        answer(await (operator.change() if command == "change" else operator.settled()))


def answer(facts: dict[str, object]) -> None:
    """Write one line."""
    sys.stdout.write(msgspec.json.encode(facts).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(serve(msgspec.json.decode(sys.argv[1], type=Plan), Path(sys.argv[2])))
