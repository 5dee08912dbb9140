"""What the agent's own HTTP endpoints answer: metrics for machines, state for people, and four things that can be done.

Theory: health and metrics are read by anybody who reaches the node's address and say nothing secret. Everything else is on
a unix socket of mode 0600; what changes something is a POST.
"""

import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
import trio

from weft_agent.capture.captures import Captures
from weft_agent.control.config_source import ConfigSource
from weft_agent.control.fleet import Fleet
from weft_agent.control.health import Health
from weft_agent.control.http_server import Request, Response, json_response, problem_response
from weft_agent.control.identities import Identities
from weft_agent.control.process import State
from weft_agent.control.settings import Settings
from weft_agent.control.version import version
from weft_agent.degraded import DegradedEndpoints
from weft_agent.telemetry.exposition import Collector, expose
from weft_agent.telemetry.log import LEVELS, Log
from weft_agent.telemetry.metrics import Metrics
from weft_agent.telemetry.pages import Pages, value_of

if TYPE_CHECKING:
    from weft_agent.operator_client.plane import OperatorPlane

STATES: Final[tuple[State, ...]] = ("starting", "loading", "serving", "draining")


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of control that endpoints look at."""

    settings: Settings
    fleet: Fleet
    captures: Captures
    config: ConfigSource
    identities: Identities
    health: Health
    pages: Pages
    metrics: Metrics
    log: Log
    stop: Callable[[], None]
    operator: "OperatorPlane | None" = None
    degraded: DegradedEndpoints | None = None


class MetricsEndpoint:
    """`/metrics`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._collector = Collector(parts.metrics, parts.pages)

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        if request.path != "/metrics":
            return problem_response(404, "/metrics is here")
        if request.method not in {"GET", "HEAD"}:
            return problem_response(405, "GET or HEAD")
        state_present(self._parts)
        body, content_type = await trio.to_thread.run_sync(expose, self._collector, request.accept)
        return Response(200, body, content_type)


def state_present(parts: Parts) -> None:
    """State the gauges that are only looked at when somebody asks."""
    metrics, workers = parts.metrics, parts.fleet.workers
    metrics.set("weft_build_info", 1.0, version=version())
    for state in STATES:
        metrics.set("weft_workers", sum(worker.state == state for worker in workers), state=state)
    metrics.replace(
        "weft_config_applied_generation", {(str(worker.slot),): float(worker.applied_generation) for worker in workers}
    )
    metrics.replace("weft_config_refused_resources", {(str(w.slot),): float(len(w.refused)) for w in workers})
    if parts.operator is not None:
        parts.operator.state_present([worker.slot for worker in workers])
    metrics.replace("weft_worker_start_seconds", {(str(w.slot),): w.ready_s for w in workers if w.ready_s})
    metrics.set("weft_config_generation", parts.fleet.desired.generation)
    metrics.set("weft_descriptors_open", float(len(os.listdir("/proc/self/fd"))))
    metrics.set("weft_descriptors_limit", float(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))
    processes = {"control": os.getpid(), "keeper": os.getppid()} | {f"worker-{w.slot}": w.pid for w in workers}
    metrics.replace("weft_resident_bytes", {(name,): float(_resident_bytes(pid)) for name, pid in processes.items()})


class AdminEndpoint:
    """The unix socket's endpoints."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._began_s = time.monotonic()

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        match request.method, request.path:
            case "GET", "/status":
                return json_response(await self._status())
            case "GET", "/config":
                return json_response(self._config())
            case "GET", "/pods":
                return json_response(self._pods())
            case "GET", "/certificates":
                return json_response(self._certificates())
            case "GET", "/connections":
                return json_response(self._connections())
            case "POST", "/drain":
                self._parts.stop()
                return json_response({"draining": True}, 202)
            case "POST", "/reload":
                self._parts.config.reload()
                self._parts.identities.reload()
                return json_response({"reloading": True}, 202)
            case "POST", "/loglevel":
                return self._set_level(request.query.get("level", ""))
            case _:
                here = "GET /status /config /pods /certificates /connections, POST /drain /reload /loglevel?level="
                return problem_response(404, f"here are: {here}")

    def _set_level(self, wanted: str) -> Response:
        for level in LEVELS:
            if level == wanted:
                self._parts.log.level = level
                return json_response({"level": level})
        return problem_response(400, f"level must be one of {', '.join(LEVELS)}")

    async def _status(self) -> dict[str, object]:
        parts = self._parts
        readiness = await parts.health.readiness()
        return {
            "version": version(),
            "node": parts.settings.node,
            "pid": os.getpid(),
            "uptimeSeconds": round(time.monotonic() - self._began_s, 1),
            "ready": not readiness.missing,
            "degraded": readiness.degraded,
            "missing": readiness.missing,
            "warnings": readiness.warnings,
            "backend": parts.captures.backend or "",
            "config": self._config_summary(),
            "operator": parts.operator.status() if parts.operator is not None else None,
            "degradedEndpoints": parts.degraded.status() if parts.degraded is not None else None,
            "workers": [
                {
                    "worker": worker.slot,
                    "pid": worker.pid,
                    "state": worker.state,
                    "appliedGeneration": worker.applied_generation,
                    "refused": worker.refused,
                    "startSeconds": round(worker.ready_s, 3),
                }
                for worker in parts.fleet.workers
            ],
            "pods": self._pods(),
            "certificates": self._certificates(),
            "connections": self._connections(),
        }

    def _config_summary(self) -> dict[str, object]:
        config = self._parts.config
        current = config.current
        return {
            "digest": current.digest if current else "",
            "origin": current.origin if current else "none",
            "generation": self._parts.fleet.desired.generation,
            "resources": len(current.entries) if current else 0,
            "problems": config.problems,
        }

    def _config(self) -> dict[str, object]:
        current = self._parts.config.current
        resources = current.entries.items() if current else ()
        return self._config_summary() | {
            "resources": [{"key": key, "hash": digest, "spec": msgspec.Raw(data)} for key, (digest, data) in resources]
        }

    def _pods(self) -> list[dict[str, object]]:
        return [
            {
                "pod": pod.key,
                "uid": uid,
                "state": pod.state,
                "error": pod.error,
                "identity": pod.workload.identity,
                "netns": pod.network.path if pod.network is not None else "",
                "listeners": sorted(f"{direction}/{family}" for direction, family in pod.listeners),
            }
            for uid, pod in sorted(self._parts.captures.pods.items(), key=lambda item: item[1].key)
        ]

    def _certificates(self) -> list[dict[str, object]]:
        now = time.time()
        return [
            {
                "identity": identity,
                "notAfterUnixSeconds": item.not_after_unix_s,
                "leftSeconds": item.not_after_unix_s - now,
            }
            for identity, item in sorted(self._parts.fleet.desired.certificates.items())
        ]

    def _connections(self) -> dict[str, int]:
        totals = self._parts.pages.totals()
        return {
            "inbound": value_of(totals, "weft_connections_active", direction="inbound"),
            "outbound": value_of(totals, "weft_connections_active", direction="outbound"),
            "tunnels": value_of(totals, "weft_tunnels_active"),
            "tunnelStreams": value_of(totals, "weft_tunnel_streams_active"),
        }


def _resident_bytes(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return 0
