"""Grammars of the texts that rules compare with: star forms, principals, networks, ports, methods, hosts, paths."""

import re
from collections.abc import Callable, Iterator
from ipaddress import ip_interface
from typing import Final, TypeAlias
from urllib.parse import quote

from weft_contract.identity import IdentityGrammarError, parse_spiffe_id, spiffe_id
from weft_contract.names import is_label
from weft_contract.objects.annotations import network
from weft_contract.problems import Problem

RegexError: TypeAlias = Callable[[str], str | None]
"""Compiles an RE2 expression: what is wrong with it, or None. Passed in, because the contract has no RE2."""

SPIFFE_SCHEME: Final = "spiffe://"
ANY_SEGMENT: Final = "{*}"
ANY_SEGMENTS: Final = "{**}"
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PATH: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,=:@/%-]*")
_ESCAPE: Final = re.compile(r"%(.{0,2})", re.DOTALL)
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_NEVER_ESCAPED: Final = _UNRESERVED | frozenset(b"/\\\x7f") | frozenset(range(0x20))
_PORT_SUFFIX: Final = re.compile(r":[0-9]*$")
_NOT_IN_HOST: Final = re.compile(r"[^!-~]|[/@?#]")
_KNOWN_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})


def star_core(value: str) -> str:
    """Return the text of a star form without its star: `web*`, `*web` and `web` give `web`, `*` gives nothing."""
    if value == "*":
        return ""
    if value.startswith("*"):
        return value[1:]
    return value.removesuffix("*")


def star_problems(value: str, path: str) -> Iterator[Problem]:
    """Yield what is wrong with the place of a star."""
    if "*" in star_core(value):
        message = f"{value!r:.120}: a star may stand at the beginning or at the end, once"
        yield Problem(path=path, message=message, remedy="write prefix*, *suffix or * alone")


def principal_problems(value: str, path: str) -> Iterator[Problem]:
    """Check an identity, exact or in a star form, with or without `spiffe://`."""
    text = value.removeprefix(SPIFFE_SCHEME)
    yield from star_problems(text, path)
    if text == "*":
        return
    if text.startswith("*"):
        message = f"{value!r:.120} matches identities of every trust domain"
        yield Problem(path=path, message=message, remedy="begin with the trust domain", warning=True)
    elif text.endswith("*"):
        if not text.endswith("/*"):
            message = f"{value!r:.120} also matches longer names that begin so"
            yield Problem(path=path, message=message, remedy="end with /*", warning=True)
    else:
        try:
            parse_spiffe_id(SPIFFE_SCHEME + text)
        except IdentityGrammarError as exc:
            remedy = "write cluster.local/ns/<namespace>/sa/<service account>"
            yield Problem(path=path, message=f"no identity can be like this: {exc}", remedy=remedy)


def namespace_problems(value: str, path: str) -> Iterator[Problem]:
    """Check a namespace, exact or in a star form."""
    yield from star_problems(value, path)
    if "*" not in value and not is_label(value):
        yield Problem(path=path, message=f"{value!r:.80} cannot be a namespace", remedy="a-z, 0-9 and '-'")


def service_account_problems(value: str, path: str) -> Iterator[Problem]:
    """Check `name` or `namespace/name`; stars are not for service accounts."""
    namespace, slash, name = value.rpartition("/")
    try:
        spiffe_id("trust.domain", namespace if slash else "default", name)
    except IdentityGrammarError as exc:
        remedy = "write <name> or <namespace>/<name>; for patterns use principals"
        yield Problem(path=path, message=str(exc), remedy=remedy)


def network_problems(value: str, path: str) -> Iterator[Problem]:
    """Check an address or CIDR network."""
    try:
        canonical = network(value)
    except ValueError:
        message = f"{value!r:.80} is neither an address nor a network"
        yield Problem(path=path, message=message, remedy="write 10.0.0.7 or 10.0.0.0/8")
        return
    if "/" in value and ip_interface(value).ip != ip_interface(canonical).ip:
        message = f"{value} has bits beside its mask and means {canonical}"
        yield Problem(path=path, message=message, remedy=f"write {canonical}", warning=True)


def port_number(value: int | str) -> int | None:
    """Return a port in either form, None where it is not one."""
    if isinstance(value, str):
        if not value.isascii() or not value.isdigit() or len(value) > 5:
            return None
        value = int(value)
    return value if 1 <= value <= 65535 else None


def port_problems(values: tuple[int | str, ...], path: str) -> Iterator[Problem]:
    """Check a list of ports."""
    seen: set[int] = set()
    for index, value in enumerate(values):
        number = port_number(value)
        if number is None:
            yield Problem(path=f"{path}[{index}]", message=f"{value!r:.40} is not a port", remedy="1 to 65535")
        elif number in seen:
            yield Problem(path=f"{path}[{index}]", message=f"port {number} is there twice", warning=True)
        else:
            seen.add(number)


def method_problems(value: str, path: str) -> Iterator[Problem]:
    """Check an HTTP method, exact or in a star form."""
    core = star_core(value)
    if not _TOKEN.fullmatch(core or "GET") or "*" in core:
        yield Problem(path=path, message=f"{value!r:.80} is not an HTTP method")
    elif core.upper() in _KNOWN_METHODS and core not in _KNOWN_METHODS:
        message = f"methods are compared with case and {value!r} is none that clients send"
        yield Problem(path=path, message=message, remedy=f"write {core.upper()}", warning=True)


def header_name_problems(name: str, path: str) -> Iterator[Problem]:
    """Check the name of a header field."""
    if not _TOKEN.fullmatch(name):
        yield Problem(path=path, message=f"{name!r:.80} is not a header name")


def host_problems(value: str, path: str) -> Iterator[Problem]:
    """Check a host, exact or in a star form; comparison ignores case and port.

    `web:8080` and `web:*`, which Istio's documentation advises, are understood as `web`, and the author is told.
    """
    yield from star_problems(value, path)
    core = star_core(value)
    host = core if core.endswith("]") else _PORT_SUFFIX.sub("", core)
    if host != core:
        message = f"{value!r:.120}: hosts are compared without their port, so this holds for every port"
        yield Problem(path=path, message=message, remedy="use ports for the port", warning=True)
    if _NOT_IN_HOST.search(host) or (host.endswith(".") and not value.endswith("*")):
        message = f"{value!r:.120} cannot be the host of a request"
        yield Problem(path=path, message=message, remedy="write it as web.shop.svc.cluster.local")


def path_problems(value: str, path: str) -> Iterator[Problem]:
    """Check a path: exact, star form or template; only what a canonical path can look like."""
    if "{" in value or "}" in value:
        yield from _template_problems(value, path)
        return
    yield from star_problems(value, path)
    if value == "*":
        return
    if not value.startswith(("/", "*")):
        yield Problem(path=path, message=f"{value!r:.120} does not begin with /", remedy=f"write /{value[:60]}")
    yield from canonical_problems(star_core(value), path, open_end=value.endswith("*"))


def _template_problems(value: str, path: str) -> Iterator[Problem]:
    """Apply Istio's rules: operators are whole segments, `{**}` is the last one, no stars outside of them.

    Source: istio `pkg/config/security` CheckValidPathTemplate and its tests.
    """
    remedy = "write /shops/{*}/items or /shops/{**}"
    if not value.startswith("/"):
        yield Problem(path=path, message=f"template {value!r:.120} does not begin with /", remedy=remedy)
    segments = value.strip("/").split("/")
    for index, segment in enumerate(segments):
        if segment in (ANY_SEGMENT, ANY_SEGMENTS):
            later = set(segments[index + 1 :]) & {ANY_SEGMENT, ANY_SEGMENTS}
            if segment == ANY_SEGMENTS and later:
                yield Problem(
                    path=path, message=f"template {value!r:.120}: {{**}} is not the last operator", remedy=remedy
                )
                return
        elif set(segment) & set("{}*"):
            message = f"template {value!r:.120}: {segment!r:.60} is not {{*}}, {{**}} or a plain segment"
            yield Problem(path=path, message=message, remedy=remedy)
    literal = value.replace(ANY_SEGMENTS, "x").replace(ANY_SEGMENT, "x")
    if not set(literal) & set("{}*"):
        yield from canonical_problems(literal, path)


def canonical_problems(text: str, path: str, *, open_end: bool = False) -> Iterator[Problem]:
    """Yield why a canonical path can never look like `text`, so that a rule with it would never match.

    Args:
        text: path or part of one.
        path: where it stands in the object.
        open_end: the path may go on after `text`, so that its last segment and escape may be unfinished.
    """
    if not _PATH.fullmatch(text):
        if set(text) & set("?#"):
            message, remedy = "the query is not part of the path", "cut it off"
        elif ";" in text:
            message, remedy = "rules see paths without segment parameters", "cut ; and what follows off each segment"
        else:
            message, remedy = "paths are compared percent-encoded", f"write {quote(text, safe='/%')[:120]}"
        yield Problem(path=path, message=f"{text!r:.120}: {message}", remedy=remedy)
        return
    remedy = "write the path as it is after normalisation"
    segments = text.split("/")
    if "//" in text:
        yield Problem(path=path, message=f"{text!r:.120}: slashes are merged before paths are compared", remedy=remedy)
    if {".", ".."} & set(segments[:-1] if open_end else segments):
        yield Problem(path=path, message=f"{text!r:.120}: dot segments are resolved before comparing", remedy=remedy)
    for match in _ESCAPE.finditer(text):
        if open_end and match.end() == len(text) and len(match[1]) < 2:
            continue
        yield from _escape_problems(match[1], path)


def _escape_problems(digits: str, path: str) -> Iterator[Problem]:
    if not re.fullmatch(r"[0-9A-Fa-f]{2}", digits):
        yield Problem(path=path, message=f"%{digits} is not a percent escape", remedy="write % as %25")
    elif int(digits, 16) in _NEVER_ESCAPED:
        message = f"%{digits} does not occur in canonical paths"
        yield Problem(path=path, message=message, remedy="write the character itself")
    elif digits != digits.upper():
        message = f"%{digits} is compared as %{digits.upper()}"
        yield Problem(path=path, message=message, remedy=f"write %{digits.upper()}")
