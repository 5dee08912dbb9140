"""Short ways to write the resources and facts that decision tests are about."""

from typing import Literal

import msgspec

from weft_contract.identity import SpiffeId
from weft_contract.resources import (
    AuthorizationPolicy,
    Condition,
    Node,
    Operation,
    RateLimit,
    RateLimitPolicy,
    Rule,
    Source,
    TextMatch,
    Workload,
)
from weft_contract.resources.policy import Action
from weft_contract.resources.text import TextKind
from weft_core.decision import Decision, Denied
from weft_core.facts import ConnectionFacts, RequestFacts
from weft_core.policy import InboundPolicy, compile_inbound

DOMAIN = "cluster.local"
NODE = Node(name="n1", trust_domain=DOMAIN, addresses=("10.0.0.1", "fd00::1"))


def identity(namespace: str = "shop", account: str = "client", domain: str = DOMAIN) -> SpiffeId:
    return SpiffeId(domain, namespace, account)


def facts(
    source: SpiffeId | None = None,
    *,
    port: int = 8080,
    address: str = "10.1.0.9",
    to: str = "10.1.0.5",
    sni: str = "",
    probe: bool = False,
    encrypted: bool | None = None,
) -> ConnectionFacts:
    """A connection; encrypted exactly when the caller has an identity, unless said otherwise."""
    return ConnectionFacts(
        source=source,
        source_address=address,
        destination_address=to,
        destination_port=port,
        encrypted=source is not None if encrypted is None else encrypted,
        sni=sni,
        is_probe=probe,
    )


def request(
    line: str = "GET /", *, host: str = "web.shop", headers: tuple[tuple[bytes, bytes], ...] = (), query: str = ""
) -> RequestFacts:
    """A request from `METHOD /path`."""
    method, _, path = line.partition(" ")
    return RequestFacts(
        method=method.encode(), host=host.encode(), path=path.encode(), query=query.encode(), headers=headers
    )


def text(value: str, kind: TextKind | None = None) -> TextMatch:
    """A comparison written as users do: `a`, `a*`, `*a`, `*`, `/a/{*}`."""
    if kind is not None:
        return TextMatch(kind=kind, value=value)
    if value == "*":
        return TextMatch(kind="present")
    if "{*}" in value or "{**}" in value:
        return TextMatch(kind="template", value=value)
    if value.endswith("*"):
        return TextMatch(kind="prefix", value=value[:-1])
    if value.startswith("*"):
        return TextMatch(kind="suffix", value=value[1:])
    return TextMatch(value=value)


def texts(*values: str | TextMatch) -> tuple[TextMatch, ...]:
    return tuple(value if isinstance(value, TextMatch) else text(value) for value in values)


def source(
    *principals: str,
    namespaces: tuple[str, ...] = (),
    accounts: tuple[str, ...] = (),
    blocks: tuple[str, ...] = (),
) -> Source:
    return Source(
        principals=texts(*principals), namespaces=texts(*namespaces), service_accounts=accounts, ip_blocks=blocks
    )


def to(
    *paths: str,
    methods: tuple[str, ...] = (),
    hosts: tuple[str, ...] = (),
    ports: tuple[int, ...] = (),
) -> Operation:
    return Operation(paths=texts(*paths), methods=texts(*methods), hosts=texts(*hosts), ports=ports)


def when(key: str, *values: str, unless: tuple[str, ...] = ()) -> Condition:
    return Condition(key=key, values=texts(*values), not_values=texts(*unless))


def rule(*parts: Source | Operation | Condition, rate: RateLimit | None = None) -> Rule:
    """A rule of its parts, in any order."""
    return Rule(
        sources=tuple(part for part in parts if isinstance(part, Source)),
        operations=tuple(part for part in parts if isinstance(part, Operation)),
        conditions=tuple(part for part in parts if isinstance(part, Condition)),
        rate_limit=rate,
    )


def policy(
    action: Action, *rules: Rule, name: str = "p", dry_run: bool = False, invalid: str | None = None
) -> AuthorizationPolicy:
    return AuthorizationPolicy(
        namespace="shop", name=name, action=action, rules=rules, dry_run=dry_run, invalid=invalid
    )


def rate(per_second: float, burst: int, per: Literal["client", "total"] = "client") -> RateLimit:
    return RateLimit(requests_per_second=per_second, burst=burst, per=per)


WEB = Workload(
    namespace="shop",
    name="web-1",
    uid="u1",
    service_account="web",
    identity=f"spiffe://{DOMAIN}/ns/shop/sa/web",
    addresses=("10.1.0.5",),
)


def inbound(
    *applied: AuthorizationPolicy | RateLimitPolicy, workload: Workload = WEB, node: Node = NODE
) -> InboundPolicy:
    """The inbound policy of a workload to which exactly these policies apply."""
    policies = {f"{p.namespace}/{p.name}": p for p in applied if isinstance(p, AuthorizationPolicy)}
    limits = {f"{p.namespace}/{p.name}": p for p in applied if isinstance(p, RateLimitPolicy)}
    workload = msgspec.structs.replace(workload, policies=tuple(sorted(policies)), rate_limits=tuple(sorted(limits)))
    return compile_inbound(workload, policies, limits, node)


def decide(policy: InboundPolicy, connection: ConnectionFacts, asked: RequestFacts | None = None) -> Decision:
    """What live traffic would be told."""
    admitted = policy.admit(connection)
    if isinstance(admitted, Denied):
        return admitted
    return admitted.tcp() if asked is None else admitted.request(asked)
