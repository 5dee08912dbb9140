"""What an operator is told when it starts: one frozen value from flags and environment, all mistakes at once.

Everything that may change while it runs is said by objects in the cluster, not by settings.
"""

import re
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Literal, TypeVar

from weft_contract.labels import GROUP
from weft_contract.names import is_label, is_subdomain
from weft_contract.ports import HEALTH_PORT, METRICS_PORT, STREAM_PORT, WEBHOOK_PORT
from weft_contract.stream import SERVER_NAME
from weft_operator.server.options import variable

T = TypeVar("T")
LogFormat = Literal["json", "text"]
LogLevel = Literal["debug", "info", "warning", "error"]

_IMAGE: Final = re.compile(r"[a-z0-9][A-Za-z0-9._:/@-]{0,1023}")


class SettingsError(Exception):
    """Settings that cannot be used; carries every mistake."""

    def __init__(self, mistakes: list[str]) -> None:
        self.mistakes = mistakes
        super().__init__("; ".join(mistakes))


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        """Give `host:port`, brackets around IPv6."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How this operator was started."""

    namespace: str
    """Where the mesh is installed: its Lease, its secrets, its Service, its agents."""
    instance: str
    """Name of this replica; the pod's."""
    gate_image: str
    """Image of the capture gate: the agent's own."""
    gate_pull_policy: Literal["Always", "IfNotPresent", "Never"]
    service: str
    """Name of the Service in front of all replicas; part of the servers' certificates."""
    extra_names: tuple[str, ...]
    """Further names or addresses that our servers are called by."""
    agent_account: str
    """Service account of the agents, in `namespace`."""
    webhook_configuration: str
    """Name of both webhook configurations."""
    lease: str
    ca_secret: str
    """Secret with the authority's keys; made when it is not there."""
    roots_config_map: str
    """ConfigMap that the roots are published in, for the agents."""
    issuer_secret: str
    """Secret of an issuer that somebody else keeps (`tls.crt`, `tls.key`, `ca.crt`); empty: the mesh is its own."""
    kubeconfig: Path | None
    """None: the pod's service account."""
    context: str
    stream_address: Address
    webhook_address: Address
    metrics_address: Address
    health_address: Address
    log_format: LogFormat
    log_level: LogLevel

    @property
    def server_names(self) -> tuple[str, ...]:
        """Names of our servers: the one that agents ask for, and those that the API server calls the Service by."""
        name = f"{self.service}.{self.namespace}"
        own = (SERVER_NAME, self.service, name, f"{name}.svc", f"{name}.svc.cluster.local")
        return tuple(dict.fromkeys((*own, *self.extra_names)))

    def shown(self) -> dict[str, str]:
        """Return the effective settings as text, for the log; none of them is a secret."""
        return {item.name: str(getattr(self, item.name)) for item in fields(self)}


def parse_settings(raw: Mapping[str, str], *, namespace: str = "", host: str | None = None) -> Settings:
    """Read settings.

    Args:
        raw: values by option name; absent ones take their default.
        namespace: the pod's.
        host: name of the pod or host; None: asked of the system.

    Raises:
        SettingsError: with every mistake.
    """
    reader = _Reader(raw)
    own = host if host is not None else socket.gethostname().lower()
    settings: dict[str, object] = {
        "namespace": reader.read("namespace", _label, namespace or None),
        "instance": reader.read("instance", _subdomain, own),
        "gate_image": reader.read("gate-image", _image, None),
        "gate_pull_policy": reader.read("gate-pull-policy", _one_of("Always", "IfNotPresent", "Never"), "IfNotPresent"),
        "service": reader.read("service", _label, "weft-operator"),
        "extra_names": reader.read("extra-names", _names, ""),
        "agent_account": reader.read("agent-account", _subdomain, "weft-agent"),
        "webhook_configuration": reader.read("webhook-configuration", _subdomain, "weft"),
        "lease": reader.read("lease", _subdomain, "weft-operator"),
        "ca_secret": reader.read("ca-secret", _subdomain, "weft-ca"),
        "roots_config_map": reader.read("roots-config-map", _subdomain, "weft-roots"),
        "issuer_secret": reader.read("issuer-secret", _subdomain_or_nothing, ""),
        "kubeconfig": Path(raw["kubeconfig"]) if raw.get("kubeconfig") else None,
        "context": raw.get("context", ""),
        "stream_address": reader.read("stream-address", _address, f"[::]:{STREAM_PORT}"),
        "webhook_address": reader.read("webhook-address", _address, f"[::]:{WEBHOOK_PORT}"),
        "metrics_address": reader.read("metrics-address", _address, f"[::]:{METRICS_PORT}"),
        "health_address": reader.read("health-address", _address, f"[::]:{HEALTH_PORT}"),
        "log_format": reader.read("log-format", _one_of("json", "text"), "json"),
        "log_level": reader.read("log-level", _one_of("debug", "info", "warning", "error"), "info"),
    }
    if raw.get("context") and not raw.get("kubeconfig"):
        reader.mistakes.append("--context is of a kubeconfig: give --kubeconfig, too")
    reader.finish()
    return Settings(**settings)  # type: ignore[arg-type]  # each reader returns its field's type or noted a mistake


def replica_identity(settings: Settings) -> str:
    """Return a name for this process that no other has, not even the one before it in the same pod."""
    return f"{settings.instance}_{secrets.token_hex(4)}"


class _Reader:
    """Reads values one by one and collects what is wrong with them."""

    def __init__(self, raw: Mapping[str, str]) -> None:
        self._raw = raw
        self.mistakes: list[str] = []

    def read(self, name: str, read: Callable[[str], T], default: str | None) -> T | None:
        """Read a value; one without a default must be given."""
        text = self._raw.get(name, default)
        if text is None or (default is None and not text):
            self.mistakes.append(f"--{name} is required (or {variable(name)})")
            return None
        try:
            return read(text)
        except ValueError as exc:
            self.mistakes.append(f"--{name} {text!r:.80}: {exc}")
            return None

    def finish(self) -> None:
        if self.mistakes:
            raise SettingsError(self.mistakes)


def _label(text: str) -> str:
    if not is_label(text):
        raise ValueError("not a name: a-z, 0-9 and '-', at most 63")
    return text


def _subdomain(text: str) -> str:
    if not is_subdomain(text):
        raise ValueError("not a name: a-z, 0-9, '-' and '.', at most 253")
    return text


def _subdomain_or_nothing(text: str) -> str:
    return _subdomain(text) if text else ""


def _names(text: str) -> tuple[str, ...]:
    found = tuple(filter(None, text.split(",")))
    for name in found:
        try:
            ip_address(name)
        except ValueError:
            _subdomain(name)
    return found


def _image(text: str) -> str:
    if not _IMAGE.fullmatch(text):
        raise ValueError(f"not an image, as ghcr.io/{GROUP}/agent:1.2.3")
    return text


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text

    return read


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("must be HOST:PORT, with brackets around an IPv6 host")
    return Address(host, int(port))
