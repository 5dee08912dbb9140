"""Everything of one agent that talks to its operator, put together: the stream, the certificates, the report of pods, the status.

Theory: control sees one value. Without an operator there is none, and configuration and certificates come from files.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

import msgspec
import trio

from weft_agent.capture.pod import Pod
from weft_agent.control.config_source import Config
from weft_agent.control.settings import OperatorSettings
from weft_agent.control.version import version
from weft_agent.operator_client.bearer import read_token
from weft_agent.operator_client.certificates import Certificates
from weft_agent.operator_client.enforcement import Workers
from weft_agent.operator_client.https import post
from weft_agent.operator_client.stream import ConfigStream, StreamSettings
from weft_agent.operator_client.transport import Endpoint
from weft_agent.telemetry.log import Log
from weft_agent.telemetry.metrics import Metrics
from weft_contract.limits import Limits
from weft_contract.stream import CERTIFICATE_PATH, CertificateRequest, Pods

MAX_REASON_CHARACTERS: Final = 200


class OperatorPlane:
    """The agent's side of the control plane.

    Args:
        node: name of this node.
        settings: where the operator is.
        identity: directory of keys and certificates.
        limits: in force.
        workers: who enforces the configuration.
        pods: by uid.
        telemetry: log and metrics.
    """

    def __init__(
        self,
        node: str,
        settings: OperatorSettings,
        identity: Path,
        limits: Limits,
        workers: Workers,
        pods: Mapping[str, Pod],
        telemetry: tuple[Log, Metrics],
    ) -> None:
        log, metrics = telemetry
        self._token = settings.token
        self._limits = limits
        self._metrics = metrics
        address = settings.address
        self._endpoint = Endpoint(address.host, address.port, settings.roots, limits.operator_connect_timeout_s)
        rng = Random()
        self.certificates = Certificates(identity, limits, self._ask, log, metrics, rng)
        stream_settings = StreamSettings(
            node=node,
            build=version(),
            endpoint=self._endpoint,
            token=settings.token,
            snapshot=settings.snapshot,
            limits=limits,
        )
        self.stream = ConfigStream(stream_settings, workers, partial(pods_report, pods), log, metrics, rng)
        self.stream.connected = self.certificates.hurry

    async def run(self) -> None:
        """Keep certificates until cancelled; the stream is run by whoever applies what it says."""
        await self.certificates.run()

    def want(self, config: Config) -> None:
        """Keep certificates for what a configuration says runs here."""
        self.certificates.want({workload.identity for workload in config.workloads}, config.bundles)

    def warnings(self) -> Iterable[str]:
        """Say what is wrong that does not keep the node from serving."""
        return self.certificates.warnings()

    def pods_changed(self) -> None:
        """Tell the operator of the pods, soon."""
        self.stream.pods_changed()

    def state_present(self, workers: Iterable[int]) -> None:
        """State the gauges that are only looked at when somebody asks.

        Args:
            workers: their numbers; all of them lack what any of them, or control itself, refused.
        """
        refused = float(self.stream.refused)
        self._metrics.replace("weft_config_refused_resources", {(str(slot),): refused for slot in workers})
        self._metrics.set("weft_config_age_seconds", self.stream.contact.age_s())

    def status(self) -> dict[str, object]:
        """Return what `weft-agent status` shows."""
        contact = self.stream.contact
        return {
            "url": contact.url,
            "connected": contact.connected,
            "sinceUnixSeconds": contact.changed_unix_s,
            "configAgeSeconds": round(contact.age_s(), 1),
            "lastError": contact.last_error,
            "lastErrorUnixSeconds": contact.last_error_unix_s,
            "snapshotProblem": self.stream.snapshot_problem,
            "certificateProblems": self.certificates.warnings(),
        }

    async def _ask(self, request: CertificateRequest) -> bytes:
        token = await trio.to_thread.run_sync(read_token, self._token)
        body = msgspec.json.encode(request)
        return await post(self._endpoint, token, CERTIFICATE_PATH, body, self._limits.operator_connect_timeout_s)


def pods_report(pods: Mapping[str, Pod]) -> Pods:
    """Return what the operator is told of this node's pods."""
    captured = sorted(pod.key for pod in pods.values() if pod.state == "captured")
    waiting = sorted((pod.key, _why(pod)) for pod in pods.values() if pod.state in {"pending", "failed", "absent"})
    return Pods(captured=tuple(captured), waiting=tuple(waiting))


def _why(pod: Pod) -> str:
    return f"{pod.state}: {pod.error}"[:MAX_REASON_CHARACTERS] if pod.error else pod.state
