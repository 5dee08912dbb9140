"""From the fields of a resource to clauses: which attribute a field means and how its values compare."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from weft_contract.resources.policy import Condition, Operation, Source
from weft_contract.resources.text import TextMatch
from weft_core.policy.clauses import Attribute, Clause, Matcher
from weft_core.policy.networks import NetworkSet
from weft_core.text import TextSet, UncompilableError

_HEADER_KEY: Final = re.compile(r"request\.headers\[([!#$%&'*+.^_`|~0-9A-Za-z-]+)\]")
"""`request.headers[name]`, the name a token (RFC 9110 §5.6.2)."""
_PORT_SUFFIX: Final = re.compile(r":[0-9]*$")

_CONDITIONS: Final[dict[str, Attribute]] = {
    "source.ip": "source_ip",
    "source.namespace": "namespace",
    "source.principal": "principal",
    "source.serviceAccount": "service_account",
    "destination.ip": "destination_ip",
    "destination.port": "port",
    "connection.sni": "sni",
}


def source_clauses(source: Source) -> tuple[Clause, ...]:
    """Compile one source; all clauses must hold.

    Raises:
        UncompilableError: a value that cannot be compared.
    """
    return _present(
        _clause("principal", _texts(source.principals), _texts(source.not_principals)),
        _clause("namespace", _texts(source.namespaces), _texts(source.not_namespaces)),
        _clause("service_account", _exact(source.service_accounts), _exact(source.not_service_accounts)),
        _clause("source_ip", _networks(source.ip_blocks), _networks(source.not_ip_blocks)),
    )


def port_clauses(operation: Operation) -> tuple[Clause, ...]:
    """Compile the part of an operation that a connection answers.

    Raises:
        UncompilableError: a port outside 1-65535.
    """
    return _present(_clause("port", _ports(operation.ports), _ports(operation.not_ports)))


def http_clauses(operation: Operation) -> tuple[Clause, ...]:
    """Compile the part of an operation that only an HTTP request answers.

    Raises:
        UncompilableError: a value that cannot be compared.
    """
    return _present(
        _clause("host", _hosts(operation.hosts), _hosts(operation.not_hosts)),
        _clause("method", _texts(operation.methods), _texts(operation.not_methods)),
        _clause("path", _texts(operation.paths), _texts(operation.not_paths)),
    )


def condition_clause(condition: Condition) -> Clause:
    """Compile a condition; the clause's attribute tells whether a connection or only a request answers it.

    Raises:
        UncompilableError: an unknown key, no value at all, or a value that cannot be compared.
    """
    if not condition.values and not condition.not_values:
        raise UncompilableError(f"condition {condition.key!r:.80} has neither values nor notValues")
    header = _HEADER_KEY.fullmatch(condition.key)
    if header is not None:
        name = header[1].lower().encode()
        return Clause("header", _texts(condition.values), _texts(condition.not_values), header=name)
    attribute = _CONDITIONS.get(condition.key)
    if attribute is None:
        known = ", ".join(["request.headers[name]", *_CONDITIONS])
        raise UncompilableError(f"condition key {condition.key!r:.80} is not known; known are {known}")
    if attribute in {"source_ip", "destination_ip"}:
        return Clause(attribute, _networks(_blocks(condition.values)), _networks(_blocks(condition.not_values)))
    fold_case = attribute == "sni"
    return Clause(
        attribute, _texts(condition.values, fold_case=fold_case), _texts(condition.not_values, fold_case=fold_case)
    )


def _clause(attribute: Attribute, wanted: Matcher | None, unwanted: Matcher | None) -> Clause | None:
    return None if wanted is None and unwanted is None else Clause(attribute, wanted, unwanted)


def _present(*clauses: Clause | None) -> tuple[Clause, ...]:
    return tuple(clause for clause in clauses if clause is not None)


def _texts(matches: Sequence[TextMatch], *, fold_case: bool = False) -> TextSet | None:
    return TextSet(matches, fold_case=fold_case) if matches else None


def _exact(values: Iterable[str]) -> TextSet | None:
    return _texts([TextMatch(value=value) for value in values])


def _ports(ports: Sequence[int]) -> TextSet | None:
    for port in ports:
        if not 1 <= port <= 65535:
            raise UncompilableError(f"port {port} is not in 1-65535")
    return _exact(str(port) for port in ports)


def _networks(blocks: Sequence[str]) -> NetworkSet | None:
    return NetworkSet(blocks) if blocks else None


def _blocks(matches: Sequence[TextMatch]) -> list[str]:
    for match in matches:
        if match.kind != "exact":
            raise UncompilableError(f"an IP address compares with CIDR blocks, not by {match.kind}")
    return [match.value for match in matches]


def _hosts(matches: Sequence[TextMatch]) -> TextSet | None:
    return _texts([_host(match) for match in matches], fold_case=True)


def _host(match: TextMatch) -> TextMatch:
    """Take the port and the trailing dot from a host rule, as they are taken from the request's host.

    Without this `example.com:8080`, or Istio's advice of `example.com:*`, would match nothing, and a DENY nobody.
    """
    if match.kind == "prefix" and match.value.endswith(":"):
        return TextMatch(kind="exact", value=match.value[:-1].rstrip("."))
    if match.kind not in {"exact", "suffix"} or match.value.endswith("]"):
        return match
    return msgspec.structs.replace(match, value=_PORT_SUFFIX.sub("", match.value).rstrip("."))
