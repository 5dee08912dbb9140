"""What an agent is told when it starts: one frozen value, read from command line and environment, all mistakes at once.

Everything that may change while the agent runs comes by configuration, not by settings.
"""

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final, Literal, TypeVar
from urllib.parse import urlsplit

from weft_agent.kubernetes.account import MOUNTED, Account, AccountError
from weft_contract.limits import DEFAULT_LIMITS, Limits
from weft_contract.ports import HEALTH_PORT, METRICS_PORT, STREAM_PORT

T = TypeVar("T")

Backend = Literal["auto", "nft", "iptables"]
LogFormat = Literal["json", "text"]
DegradedChoice = Literal["auto", "off"]
LogLevel = Literal["debug", "info", "warning", "error"]

MOST_WORKERS: Final = 64
IDENTITY_DIRECTORY: Final = "identity"
DEFAULT_MOST_WORKERS: Final = 4
"""A node agent should not take a whole machine by default; more is a choice."""
_NODE_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


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
class OperatorSettings:
    """Where configuration and certificates come from, when it is not files."""

    address: Address
    roots: Path
    """PEM of the roots that the operator's certificate must come from; read at each connection."""
    token: Path
    """This agent's projected service account token; read at each connection."""
    snapshot: Path
    """Directory, on a disk that outlives a reboot, of the last configuration in force."""

    @property
    def url(self) -> str:
        """The operator's URL."""
        return f"https://{self.address}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How this agent was started."""

    node: str
    config: Path | None
    """Directory with `<node>.json`; None: the operator is the source."""
    operator: OperatorSettings | None = None
    """Exactly one of `config` and `operator` is there."""
    identity: Path
    """Directory with certificates and keys, see `weft_contract.identity_layout`; with an operator, the agent's own."""
    state: Path
    """Own directory on a tmpfs: sockets, last good configuration, lock."""
    workers: int
    backend: Backend = "auto"
    health_address: Address = Address("::", HEALTH_PORT)
    metrics_address: Address = Address("::", METRICS_PORT)
    log_format: LogFormat = "json"
    log_level: LogLevel = "info"
    proc: Path = Path("/proc")
    """Where the node's proc filesystem is mounted; its processes tell which namespace is which pod's."""
    netns_dir: Path = Path("/run/netns")
    """Directory of the node's named network namespaces."""
    kubernetes: str = ""
    """API server at which the pods of this node are watched: `in-cluster` or `https://HOST:PORT`; empty: none is."""
    kubernetes_account: Path = MOUNTED
    """Directory with the `token` and `ca.crt` to use there."""
    degraded_endpoints: DegradedChoice = "auto"
    """`auto`: without an operator for long, endpoints are watched at the API server, where `kubernetes` is given."""
    remove_capture_on_exit: bool = False
    """False: rules outlive the agent, so a restart refuses instead of letting pass."""
    stand_by: bool = False
    """Wait, ready, while another agent has the state directory, and take over when it ends; False: that is a mistake."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """Overrides of `Limits` by field name."""

    def shown(self) -> dict[str, str]:
        """Return the effective settings as text, for the log; none of them is a secret."""
        found = {item.name: str(getattr(self, item.name)) for item in fields(self)}
        operator = self.operator
        if operator is None:
            return found
        paths = {"operator_roots": operator.roots, "token": operator.token, "snapshot": operator.snapshot}
        return found | {"operator": operator.url} | {name: str(path) for name, path in paths.items()}


def parse_settings(raw: Mapping[str, str], cpus: int) -> Settings:
    """Read settings.

    Args:
        raw: values by option name without dashes (`health-address`); absent ones take their default. `limit` is a comma
            list of `name=value`.
        cpus: CPUs this process may run on, for the default number of workers.

    Raises:
        SettingsError: with every mistake.
    """
    reader = _Reader(raw)
    node = reader.required("node", _node)
    source = _source(reader, node or "")
    state = reader.optional("state", _directory, Path("/run/weft") / (node or ""))
    settings: dict[str, object] = {
        "node": node,
        **source,
        "identity": _identity(reader, state, with_operator="operator" in raw),
        "state": state,
        "workers": reader.optional("workers", _workers, max(1, min(cpus, DEFAULT_MOST_WORKERS))),
        "backend": reader.optional("backend", _one_of("auto", "nft", "iptables"), "auto"),
        "health_address": reader.optional("health-address", _address, Address("::", HEALTH_PORT)),
        "metrics_address": reader.optional("metrics-address", _address, Address("::", METRICS_PORT)),
        "log_format": reader.optional("log-format", _one_of("json", "text"), "json"),
        "log_level": reader.optional("log-level", _one_of("debug", "info", "warning", "error"), "info"),
        "proc": reader.optional("proc", _directory, Path("/proc")),
        "netns_dir": reader.optional("netns-dir", _directory, Path("/run/netns")),
        "kubernetes": reader.optional("kubernetes", _api_server, ""),
        "kubernetes_account": reader.optional("kubernetes-account", _directory, MOUNTED),
        "degraded_endpoints": reader.optional("degraded-endpoints", _one_of("auto", "off"), "auto"),
        "remove_capture_on_exit": reader.optional("remove-capture-on-exit", _flag, False),
        "stand_by": reader.optional("stand-by", _flag, False),
        "limits": reader.optional("limit", _limits, dict[str, float]()),
    }
    reader.finish()
    return Settings(**settings)  # type: ignore[arg-type]  # every reader above returns its field's type or noted a mistake


def _source(reader: "_Reader", node: str) -> dict[str, object]:
    """Read where configuration comes from: files or an operator, exactly one of them."""
    operator = reader.given("operator")
    if operator and reader.given("config"):
        reader.mistake("--config and --operator are both given; an agent has one source, remove the other")
    if not operator:
        for name in ("operator-roots", "token", "snapshot"):
            if reader.given(name):
                reader.mistake(f"--{name} is given without --operator; it says nothing about files")
        return {"config": reader.required("config", _directory, alternative="operator"), "operator": None}
    address = reader.required("operator", _operator)
    roots = reader.required("operator-roots", _directory)
    token = reader.required("token", _directory)
    snapshot = reader.optional("snapshot", _directory, Path("/var/lib/weft") / node)
    if address is None or roots is None or token is None or snapshot is None:
        return {"config": None, "operator": None}  # the mistakes are noted
    return {
        "config": None,
        "operator": OperatorSettings(address=address, roots=roots, token=token, snapshot=snapshot),
    }


def _identity(reader: "_Reader", state: Path | None, *, with_operator: bool) -> Path | None:
    """Read the identity directory; an agent with an operator keeps its own below the state directory."""
    if not with_operator:
        return reader.required("identity", _directory)
    return reader.optional("identity", _directory, (state or Path()) / IDENTITY_DIRECTORY)


class _Reader:
    """Reads values one by one and collects what is wrong with them."""

    def __init__(self, raw: Mapping[str, str]) -> None:
        self._raw = raw
        self._mistakes: list[str] = []

    def given(self, name: str) -> bool:
        return name in self._raw

    def mistake(self, text: str) -> None:
        self._mistakes.append(text)

    def required(self, name: str, read: Callable[[str], T], *, alternative: str = "") -> T | None:
        text = self._raw.get(name, "")
        if text:
            return self._read(name, text, read)
        instead = f", or --{alternative}" if alternative else ""
        self._mistakes.append(f"--{name} is required{instead} (or WEFT_{name.upper().replace('-', '_')})")
        return None

    def optional(self, name: str, read: Callable[[str], T], default: T) -> T | None:
        text = self._raw.get(name)
        return default if text is None else self._read(name, text, read)

    def finish(self) -> None:
        if self._mistakes:
            raise SettingsError(self._mistakes)

    def _read(self, name: str, text: str, read: Callable[[str], T]) -> T | None:
        try:
            return read(text)
        except ValueError as exc:
            self._mistakes.append(f"--{name} {text!r:.80}: {exc}")
            return None


def _node(text: str) -> str:
    if not _NODE_NAME.fullmatch(text):
        raise ValueError("not a node name (RFC 1123 subdomain)")
    return text


def _directory(text: str) -> Path:
    if "\0" in text or "," in text:
        raise ValueError("not usable as a path")
    return Path(os.path.abspath(text))


def _api_server(text: str) -> str:
    if text:
        try:
            Account.at(text, MOUNTED, os.environ)
        except AccountError as exc:
            raise ValueError(str(exc)) from exc
    return text


def _workers(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_WORKERS:
        raise ValueError(f"must be a number from 1 to {MOST_WORKERS}")
    return int(text)


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text

    return read


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("must be true or false")
    return text == "true"


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("must be HOST:PORT, with brackets around an IPv6 host")
    return Address(host, int(port))


def _operator(text: str) -> Address:
    parts = urlsplit(text)
    plain = (parts.scheme, parts.path.rstrip("/"), parts.query, parts.fragment, parts.username) == (
        "https", "", "", "", None,
    )  # fmt: skip
    if not plain or not parts.hostname:
        raise ValueError(f"must be https://HOST:PORT (the operator's stream is on port {STREAM_PORT})")
    return Address(parts.hostname, parts.port or STREAM_PORT)


def _limits(text: str) -> dict[str, float]:
    known = {item.name for item in fields(Limits)}
    found: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        name, _, number = part.partition("=")
        if name not in known:
            raise ValueError(f"{name!r} is not a limit; `weft limits` lists them")
        value = float(number)
        if not math.isfinite(value) or value <= 0:
            raise ValueError(f"{name} must be a number above 0")
        found[name] = int(value) if isinstance(getattr(DEFAULT_LIMITS, name), int) else value
    return found
