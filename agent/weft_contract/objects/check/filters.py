"""Rules of route filters: which type goes with which field, which headers are ours or the framing's, what may be combined."""

import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final

from weft_contract.labels import HEADER_PREFIX
from weft_contract.names import is_subdomain
from weft_contract.objects.check.text import canonical_problems, header_name_problems
from weft_contract.objects.route import HeaderModifier, PathModifier, RouteFilter
from weft_contract.problems import Problem

_MEMBERS: Final = {
    "RequestHeaderModifier": ("requestHeaderModifier", "request_header_modifier"),
    "ResponseHeaderModifier": ("responseHeaderModifier", "response_header_modifier"),
    "RequestRedirect": ("requestRedirect", "request_redirect"),
    "URLRewrite": ("urlRewrite", "url_rewrite"),
    "RequestMirror": ("requestMirror", "request_mirror"),
    "CORS": ("cors", "cors"),
    "ExternalAuth": ("externalAuth", "external_auth"),
    "ExtensionRef": ("extensionRef", "extension_ref"),
}
"""Filter type to its field, as written and in Python."""
HTTP_FILTERS: Final = frozenset({"RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite"})
BACKEND_FILTERS: Final = HTTP_FILTERS - {"RequestRedirect"}
GRPC_FILTERS: Final = frozenset({"RequestHeaderModifier", "ResponseHeaderModifier"})
_FRAMING: Final = frozenset({
    "connection", "content-length", "http2-settings", "keep-alive", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip
"""Fields that say where a message ends or belong to one connection; a changed one would be another message."""
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\U0010ffff]*")


def filter_problems(filters: tuple[RouteFilter, ...], path: str, supported: frozenset[str]) -> Iterator[Problem]:
    """Yield everything wrong with the filters of one rule or backend."""
    seen: set[str] = set()
    for index, item in enumerate(filters):
        where = f"{path}[{index}]"
        yield from _member_problems(item, where)
        if item.type not in supported:
            message = f"filter {item.type} is not supported here yet (UnsupportedValue)"
            yield Problem(path=f"{where}.type", message=message, remedy=f"supported: {', '.join(sorted(supported))}")
        elif item.type in seen:
            yield Problem(path=where, message=f"filter {item.type} is there twice", remedy="put both into one")
        seen.add(item.type)
        for modifier, name in (
            (item.request_header_modifier, "requestHeaderModifier"),
            (item.response_header_modifier, "responseHeaderModifier"),
        ):
            if modifier is not None:
                yield from _header_problems(modifier, f"{where}.{name}")
        yield from _target_problems(item, where)
    if {"RequestRedirect", "URLRewrite"} <= seen:
        message = "RequestRedirect and URLRewrite cannot be combined (IncompatibleFilters)"
        yield Problem(path=path, message=message, remedy="use one of them")


def _member_problems(item: RouteFilter, path: str) -> Iterator[Problem]:
    for kind, (name, attribute) in _MEMBERS.items():
        given = getattr(item, attribute) is not None
        if kind == item.type and not given:
            yield Problem(path=path, message=f"filter {item.type} lacks its {name}", remedy=f"add {name}")
        elif kind != item.type and given:
            message = f"{name} does not go with filter type {item.type}"
            yield Problem(path=f"{path}.{name}", message=message, remedy=f"use type {kind}")


def _header_problems(modifier: HeaderModifier, path: str) -> Iterator[Problem]:
    seen: set[str] = set()
    values = [(f"{path}.set[{index}]", header) for index, header in enumerate(modifier.set)]
    values += [(f"{path}.add[{index}]", header) for index, header in enumerate(modifier.add)]
    for where, header in values:
        if not _VALUE.fullmatch(header.value):
            yield Problem(path=f"{where}.value", message="a header value cannot have control characters")
    names = [(f"{where}.name", header.name) for where, header in values]
    names += [(f"{path}.remove[{index}]", name) for index, name in enumerate(modifier.remove)]
    for where, name in names:
        yield from header_name_problems(name, where)
        yield from _reserved_problems(name.lower(), where)
        if name.lower() in seen:
            yield Problem(path=where, message=f"{name!r:.80} is changed twice", remedy="name each header once")
        seen.add(name.lower())


def _reserved_problems(name: str, path: str) -> Iterator[Problem]:
    if name in _FRAMING:
        yield Problem(path=path, message=f"{name!r} frames the message and cannot be changed", remedy="take it out")
    elif name == "host":
        yield Problem(path=path, message="the host is not changed as a header", remedy="use URLRewrite.hostname")
    elif name.startswith(HEADER_PREFIX.decode()):
        message = f"{name!r:.80}: names that begin with {HEADER_PREFIX.decode()} are the agents' own"
        yield Problem(path=path, message=message, remedy="use another name")


def _target_problems(item: RouteFilter, path: str) -> Iterator[Problem]:
    for name, target in (("requestRedirect", item.request_redirect), ("urlRewrite", item.url_rewrite)):
        if target is None:
            continue
        if target.hostname is not None and not _is_hostname(target.hostname):
            message = f"{target.hostname!r:.120} is not a host name"
            yield Problem(path=f"{path}.{name}.hostname", message=message, remedy="a DNS name in lower case")
        if target.path is not None:
            yield from _modifier_problems(target.path, f"{path}.{name}.path")


def _is_hostname(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return is_subdomain(text)
    return False


def _modifier_problems(modifier: PathModifier, path: str) -> Iterator[Problem]:
    full = modifier.type == "ReplaceFullPath"
    name, value = ("replaceFullPath", modifier.replace_full_path) if full else (
        "replacePrefixMatch",
        modifier.replace_prefix_match,
    )  # fmt: skip
    other = modifier.replace_prefix_match if full else modifier.replace_full_path
    if other is not None:
        yield Problem(path=path, message=f"type {modifier.type} takes {name} alone", remedy="take the other one out")
    if value is None:
        yield Problem(path=path, message=f"type {modifier.type} lacks {name}", remedy=f"add {name}")
        return
    if value and not value.startswith("/"):
        yield Problem(path=f"{path}.{name}", message=f"{value!r:.120} does not begin with /")
    yield from canonical_problems(value, f"{path}.{name}")
