"""The flags of `weft-operator run`: one table for the parser, its help and the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from weft_contract.ports import HEALTH_PORT, METRICS_PORT, STREAM_PORT, WEBHOOK_PORT


def variable(name: str) -> str:
    """Return the variable of the environment that stands in for a flag, `WEFT_GATE_IMAGE` for `gate-image`."""
    return "WEFT_" + name.upper().replace("-", "_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One flag, `--name VALUE`, or `WEFT_NAME` in the environment."""

    name: str
    value: str
    help: str

    @property
    def variable(self) -> str:
        """The variable of the environment that stands in for it."""
        return variable(self.name)


OPTIONS: Final = (
    Option(name="namespace", value="NAME", help="where the mesh is installed (default: the pod's namespace)"),
    Option(name="gate-image", value="IMAGE", help="image of the capture gate: the agent's own; required"),
    Option(name="gate-pull-policy", value="POLICY", help="Always, IfNotPresent (default) or Never"),
    Option(name="service", value="NAME", help="the Service in front of all replicas (default weft-operator)"),
    Option(name="extra-names", value="NAME,…", help="further DNS names or addresses in the servers' certificate"),
    Option(name="agent-account", value="NAME", help="service account of the agents (default weft-agent)"),
    Option(name="webhook-configuration", value="NAME", help="name of both webhook configurations (default weft)"),
    Option(name="lease", value="NAME", help="the Lease that the leader holds (default weft-operator)"),
    Option(name="ca-secret", value="NAME", help="Secret with the authority's keys, made if missing (default weft-ca)"),
    Option(name="roots-config-map", value="NAME", help="ConfigMap with the roots for the agents (default weft-roots)"),
    Option(name="issuer-secret", value="NAME", help="Secret of an issuer that somebody else keeps, as cert-manager"),
    Option(name="instance", value="NAME", help="name of this replica (default: the pod's or host's)"),
    Option(name="kubeconfig", value="FILE", help="reach the API server by this file (default: as the pod we run in)"),
    Option(name="context", value="NAME", help="context of the kubeconfig (default: its current one)"),
    Option(name="stream-address", value="HOST:PORT", help=f"config streams, certificates (default [::]:{STREAM_PORT})"),
    Option(name="webhook-address", value="HOST:PORT", help=f"admission webhooks (default [::]:{WEBHOOK_PORT})"),
    Option(name="metrics-address", value="HOST:PORT", help=f"metrics (default [::]:{METRICS_PORT})"),
    Option(name="health-address", value="HOST:PORT", help=f"liveness and readiness (default [::]:{HEALTH_PORT})"),
    Option(name="log-format", value="json|text", help="of everything the operator writes (default json)"),
    Option(name="log-level", value="LEVEL", help="debug, info (default), warning or error"),
)
_NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def collect(flags: Mapping[str, object], environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return values by option name: flags first, then the environment."""
    raw: dict[str, str] = {}
    for option in OPTIONS:
        given = flags.get(option.name.replace("-", "_"))
        if isinstance(given, str):
            raw[option.name] = given
        elif option.variable in environment:
            raw[option.name] = environment[option.variable]
    return raw


def pod_namespace(environment: Mapping[str, str] = os.environ, path: Path = _NAMESPACE_FILE) -> str:
    """Return the namespace of the pod that we run in; empty: we are in none."""
    if environment.get("POD_NAMESPACE"):
        return environment["POD_NAMESPACE"]
    try:
        return path.read_text().strip()
    except OSError:
        return ""
