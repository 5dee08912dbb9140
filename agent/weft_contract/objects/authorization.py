"""AuthorizationPolicy: who may call what, and how often. Istio's kind and field names, with rate limits per rule.

The one object that says "A may call B only on /foo and only at 10 per second" is an ALLOW policy whose rule has a
`rateLimit`. Empty lists are refused throughout, because an empty list of sources would match every source.

Source: Istio AuthorizationPolicy v1 (order CUSTOM, DENY, ALLOW; no ALLOW policy allows; `spec: {}` denies all).
"""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, field

from weft_contract.labels import API_VERSION
from weft_contract.objects.metadata import Metadata
from weft_contract.objects.shape import Own, Ports, Texts
from weft_contract.objects.target import Selector, Targets

FORMS = "Each exact, `prefix*`, `*suffix` or `*` (any that is present)."
Rate: TypeAlias = Annotated[float, Meta(gt=0, le=10_000_000)]
Burst: TypeAlias = Annotated[int, Meta(ge=1, le=10_000_000)]


def _texts(what: str) -> Meta:
    return Meta(description=f"{what} {FORMS}")


class Source(Own, frozen=True, kw_only=True):
    """Who calls: all fields that are given must match, within a field one value suffices."""

    principals: Annotated[Texts, _texts("Identities, as `cluster.local/ns/shop/sa/web`.")] = ()
    not_principals: Annotated[Texts, _texts("Identities that do not match.")] = ()
    request_principals: Annotated[Texts, _texts("Principals of JSON web tokens.")] = ()
    not_request_principals: Annotated[Texts, _texts("Token principals that do not match.")] = ()
    namespaces: Annotated[Texts, _texts("Namespaces of the caller's identity.")] = ()
    not_namespaces: Annotated[Texts, _texts("Namespaces that do not match.")] = ()
    service_accounts: Annotated[
        Texts, Meta(description="Service accounts, `name` of the policy's namespace or `namespace/name`; exact.")
    ] = ()
    not_service_accounts: Annotated[Texts, Meta(description="Service accounts that do not match; exact.")] = ()
    ip_blocks: Annotated[Texts, Meta(description="Addresses or CIDR networks that the connection comes from.")] = ()
    not_ip_blocks: Annotated[Texts, Meta(description="Addresses or networks that do not match.")] = ()
    remote_ip_blocks: Annotated[Texts, Meta(description="Addresses of the original client before proxies.")] = ()
    not_remote_ip_blocks: Annotated[Texts, Meta(description="Original client addresses that do not match.")] = ()


class Operation(Own, frozen=True, kw_only=True):
    """What is asked for: all fields that are given must match, within a field one value suffices."""

    hosts: Annotated[Texts, _texts("Host of the request, without case and port.")] = ()
    not_hosts: Annotated[Texts, _texts("Hosts that do not match.")] = ()
    ports: Annotated[Ports, Meta(description="Ports of the pod, not of the Service.")] = ()
    not_ports: Annotated[Ports, Meta(description="Ports that do not match.")] = ()
    methods: Annotated[Texts, _texts("HTTP methods, with case. For gRPC always `POST`.")] = ()
    not_methods: Annotated[Texts, _texts("Methods that do not match.")] = ()
    paths: Annotated[
        Texts,
        _texts("Canonical paths without query; `{*}` stands for one segment, a last `{**}` for any number."),
    ] = ()
    not_paths: Annotated[Texts, _texts("Paths that do not match.")] = ()


class RuleFrom(Own, frozen=True, kw_only=True):
    """One kind of caller."""

    source: Annotated[Source, Meta(description="Who calls.")]


class RuleTo(Own, frozen=True, kw_only=True):
    """One kind of request."""

    operation: Annotated[Operation, Meta(description="What is asked for.")]


class Condition(Own, frozen=True, kw_only=True):
    """A condition beyond source and operation."""

    key: Annotated[
        str,
        Meta(
            description="`request.headers[name]`, `source.ip`, `source.namespace`, `source.principal`, "
            "`source.serviceAccount`, `destination.ip`, `destination.port` or `connection.sni`.",
            min_length=1,
            max_length=256,
        ),
    ]
    values: Annotated[Texts, Meta(description="One of these must match.")] = ()
    not_values: Annotated[Texts, Meta(description="None of these may match.")] = ()


class RuleRateLimit(Own, frozen=True, kw_only=True):
    """The rate up to which an ALLOW rule allows; beyond it the answer is 429."""

    requests_per_second: Annotated[Rate, Meta(description="Requests per second, on average.")]
    burst: Annotated[
        Burst | None, Meta(description="Requests that may come at once; left out: one second's worth, at least 1.")
    ] = None
    per: Annotated[
        Literal["Client", "Total"],
        Meta(description="`Client`: this rate for each calling identity; `Total`: for all callers together."),
    ] = "Client"


class Rule(Own, frozen=True, kw_only=True):
    """One rule: any of `from`, any of `to`, all of `when`; what is left out matches everything."""

    from_: Annotated[
        tuple[RuleFrom, ...],
        Meta(description="Who calls; one of these must match.", min_length=1, max_length=64),
    ] = ()
    to: Annotated[
        tuple[RuleTo, ...],
        Meta(description="What is asked for; one of these must match.", min_length=1, max_length=64),
    ] = ()
    when: Annotated[
        tuple[Condition, ...], Meta(description="Conditions; all must hold.", min_length=1, max_length=64)
    ] = ()
    rate_limit: Annotated[RuleRateLimit | None, Meta(description="On ALLOW rules: allowed up to this rate.")] = None


class Provider(Own, frozen=True, kw_only=True):
    """The external authorizer of a CUSTOM policy."""

    name: Annotated[str, Meta(description="Name of the authorizer.", min_length=1, max_length=253)]


class AuthorizationPolicySpec(Own, frozen=True, kw_only=True):
    """What an AuthorizationPolicy says."""

    selector: Selector = None
    target_refs: Targets = ()
    action: Annotated[
        Literal["ALLOW", "DENY", "AUDIT", "CUSTOM"],
        Meta(description="What happens to a request that a rule matches. DENY wins over ALLOW; AUDIT only counts."),
    ] = "ALLOW"
    mode: Annotated[
        Literal["Enforce", "DryRun"], Meta(description="`DryRun`: evaluated and counted, never enforced.")
    ] = "Enforce"
    provider: Annotated[Provider | None, Meta(description="For CUSTOM: who decides.")] = None
    rules: Annotated[
        tuple[Rule, ...],
        Meta(description="One must match. No rule matches nothing: an ALLOW policy then denies all.", max_length=128),
    ] = ()


class AuthorizationPolicy(Own, frozen=True, kw_only=True):
    """Who may call the pods it is attached to."""

    api_version: Literal["weft.dev/v1alpha1"] = API_VERSION
    kind: Literal["AuthorizationPolicy"] = "AuthorizationPolicy"
    metadata: Metadata
    spec: AuthorizationPolicySpec = AuthorizationPolicySpec()
    status: dict[str, object] = field(default_factory=dict)
