"""Authorization and rate limits, resolved: texts are typed comparisons, selectors are gone (`Workload` lists its policies)."""

from typing import Literal

from weft_contract.resources.shape import Shape
from weft_contract.resources.text import TextMatch

Action = Literal["ALLOW", "DENY", "AUDIT"]


class Source(Shape, frozen=True, kw_only=True):
    """Who calls. All non-empty fields must match; within a field one value suffices; `not_` fields: none may match."""

    principals: tuple[TextMatch, ...] = ()
    """Compared with `SpiffeId.principal` (no scheme)."""
    not_principals: tuple[TextMatch, ...] = ()
    namespaces: tuple[TextMatch, ...] = ()
    not_namespaces: tuple[TextMatch, ...] = ()
    service_accounts: tuple[str, ...] = ()
    """`namespace/name`, exact."""
    not_service_accounts: tuple[str, ...] = ()
    ip_blocks: tuple[str, ...] = ()
    """CIDR; compared with the address the connection came from."""
    not_ip_blocks: tuple[str, ...] = ()


class Operation(Shape, frozen=True, kw_only=True):
    """What is asked for. `hosts` compare without case and port; `methods` with case; `paths` in canonical form."""

    hosts: tuple[TextMatch, ...] = ()
    not_hosts: tuple[TextMatch, ...] = ()
    ports: tuple[int, ...] = ()
    not_ports: tuple[int, ...] = ()
    methods: tuple[TextMatch, ...] = ()
    not_methods: tuple[TextMatch, ...] = ()
    paths: tuple[TextMatch, ...] = ()
    not_paths: tuple[TextMatch, ...] = ()


class Condition(Shape, frozen=True, kw_only=True):
    """An extra condition.

    Keys: `request.headers[name]`, `source.ip`, `source.namespace`, `source.principal`, `source.serviceAccount`,
    `destination.ip`, `destination.port`, `connection.sni`.
    """

    key: str
    values: tuple[TextMatch, ...] = ()
    not_values: tuple[TextMatch, ...] = ()


class RateLimit(Shape, frozen=True, kw_only=True):
    """A token bucket, shared by the node's workers."""

    requests_per_second: float
    burst: int
    """Requests that may come at once; at least 1."""
    per: Literal["client", "total"] = "client"
    """`client`: one bucket per client identity (per address where there is none)."""


class Rule(Shape, frozen=True, kw_only=True):
    """One rule: any source, any operation and all conditions; an empty list matches all."""

    sources: tuple[Source, ...] = ()
    operations: tuple[Operation, ...] = ()
    conditions: tuple[Condition, ...] = ()
    rate_limit: RateLimit | None = None
    """On ALLOW rules: what matches is allowed up to this rate and answered 429 beyond it."""


class AuthorizationPolicy(Shape, frozen=True, kw_only=True, tag_field="kind", tag="AuthorizationPolicy"):
    """One policy. Key: `namespace/name`. No rules: matches nothing, so an ALLOW policy without rules denies all."""

    namespace: str
    name: str
    action: Action = "ALLOW"
    dry_run: bool = False
    """Evaluated and counted, never enforced."""
    rules: tuple[Rule, ...] = ()
    invalid: str | None = None
    """Set where the object is broken: everything it applies to is denied with this reason.

    With `dry_run` (the author asked for it, and that much could be read) the denial is counted and not enforced.
    """


class ClientLimit(Shape, frozen=True, kw_only=True):
    """A rate of its own for the named clients."""

    service_accounts: tuple[str, ...]
    """`namespace/name`."""
    requests_per_second: float
    burst: int


class RateLimitPolicy(Shape, frozen=True, kw_only=True, tag_field="kind", tag="RateLimitPolicy"):
    """Request rates at the destination. Key: `namespace/name`. Every limit that applies must have a token."""

    namespace: str
    name: str
    operations: tuple[Operation, ...] = ()
    """Which requests are counted; empty: all."""
    total: RateLimit | None = None
    client: RateLimit | None = None
    overrides: tuple[ClientLimit, ...] = ()
    invalid: str | None = None
