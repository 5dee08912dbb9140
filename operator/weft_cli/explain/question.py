"""Who calls whom: `shop/web`, `deploy/web`, `http://web.shop:8080/path`, `10.96.0.10:80` read into names and numbers."""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

from weft_cli.exits import USAGE
from weft_cli.output import CommandError
from weft_contract.names import is_label, is_subdomain

Kind: TypeAlias = Literal["", "pod", "service", "workload"]
_KINDS: Final[dict[str, Kind]] = {
    "po": "pod", "pod": "pod", "pods": "pod",
    "svc": "service", "service": "service", "services": "service",
    "deploy": "workload", "deployment": "workload", "deployments": "workload",
    "sts": "workload", "statefulset": "workload", "statefulsets": "workload",
    "ds": "workload", "daemonset": "workload", "daemonsets": "workload",
    "job": "workload", "jobs": "workload",
}  # fmt: skip
_PORT: Final = re.compile(r"(.*):([0-9]{1,5})")
_SCHEME_PORTS: Final = {"http": 80, "https": 443}
FORMS: Final = "NAME, NAMESPACE/NAME, KIND/NAME or NAMESPACE/KIND/NAME"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Something by its name."""

    namespace: str
    kind: Kind
    """Empty: not said."""
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a call goes."""

    named: Named | None
    """None: an address."""
    address: str = ""
    port: int | None = None
    host: str = ""
    """What the caller writes into Host; empty: nothing was said."""
    path: str = ""
    """Path and query of a URL."""


def read_caller(word: str, namespace: str) -> Named:
    """Read FROM.

    Args:
        word: as typed.
        namespace: where names without one are.

    Raises:
        CommandError: it is of no form that names a pod or a workload.
    """
    named = _named(word, namespace)
    if named.kind == "service":
        raise CommandError(f"{word}: a Service calls nobody; name a pod or a workload as FROM", USAGE)
    return named


def read_target(word: str, namespace: str) -> Target:
    """Read TO: a name with or without port, a URL, or an address with port.

    Raises:
        CommandError: it is of no such form.
    """
    if "://" in word:
        return _of_url(word, namespace)
    rest, port = _split_port(word)
    address = _address(rest)
    if address is not None:
        if port is None:
            raise CommandError(f"{word}: an address needs a port, as {rest}:80", USAGE)
        return Target(named=None, address=address, port=port)
    return Target(named=_named(rest, namespace), port=port)


def _of_url(word: str, namespace: str) -> Target:
    try:
        url = urlsplit(word)
        given = url.port
    except ValueError as exc:
        raise CommandError(f"{word}: {exc}", USAGE) from exc
    if url.scheme not in _SCHEME_PORTS or not url.hostname:
        raise CommandError(f"{word}: a URL begins with http:// or https:// and a host", USAGE)
    port = given or _SCHEME_PORTS[url.scheme]
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    address = _address(url.hostname)
    if address is not None:
        return Target(named=None, address=address, port=port, host=url.netloc, path=path)
    named = _by_host(url.hostname, namespace)
    return Target(named=named, port=port, host=url.netloc, path=path)


def _by_host(host: str, namespace: str) -> Named:
    """Read a name as a pod's resolver would: `web`, `web.shop`, `web.shop.svc`, `web.shop.svc.cluster.local`."""
    name, _, rest = host.partition(".")
    own, _, suffix = rest.partition(".")
    if suffix and suffix != "svc" and not suffix.startswith("svc."):
        raise CommandError(f"{host}: not the name of a Service of this cluster; it leaves the mesh as it is", USAGE)
    return Named(namespace=own or namespace, kind="service", name=name)


def _split_port(word: str) -> tuple[str, int | None]:
    found = _PORT.fullmatch(word)
    if found is None or (found[1].count(":") > 0 and not found[1].endswith("]")):
        return word.strip("[]"), None
    port = int(found[2])
    if not 1 <= port <= 65535:
        raise CommandError(f"{word}: {port} is not a port", USAGE)
    return found[1].strip("[]"), port


def _address(text: str) -> str | None:
    try:
        return str(ip_address(text))
    except ValueError:
        return None


def _named(word: str, namespace: str) -> Named:
    parts = word.split("/")
    kind: Kind = ""
    if len(parts) > 1 and parts[-2].lower() in _KINDS:
        kind = _KINDS[parts.pop(-2).lower()]
    if len(parts) == 2:
        namespace = parts.pop(0)
    if len(parts) != 1 or not is_subdomain(parts[0]) or not is_label(namespace):
        raise CommandError(f"{word!r}: write it as {FORMS}", USAGE)
    return Named(namespace=namespace, kind=kind, name=parts[0])
