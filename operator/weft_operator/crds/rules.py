"""CEL rules of our kinds: what the API server itself refuses, in the compiler's words, even with no webhook installed.

Theory: each rule here is one check of `weft_contract.objects.check` that CEL can express within the API server's cost
budget, with the same message and remedy (tests hold both against the same objects, so that they cannot drift apart). What
CEL cannot judge is left to the webhook and the compiler: texts in deep lists (their cost is multiplied by every bound above
them), RE2, and whatever needs a second object. A rule is never stricter than the check: an object that the compiler takes
must be storable.

Source: KEP-2876; Kubernetes documentation, "Validation rules": `message`, `messageExpression`, `reason`, `fieldPath`.
"""

from dataclasses import dataclass
from typing import Final, Literal

from weft_contract.objects import MESH_NAME, Mesh, TargetReference
from weft_contract.objects.authorization import AuthorizationPolicySpec, Condition, Operation, Source
from weft_contract.objects.mesh import MeshSpec
from weft_contract.objects.peer_authentication import PeerAuthenticationSpec
from weft_contract.objects.rate_limit import ClientReference, RateLimitPolicySpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One validation rule of an object."""

    rule: str
    """CEL; `self` is the object."""
    message: str
    """What is wrong and what to do, for people."""
    says: str = ""
    """CEL of a message that quotes the object; the API server falls back to `message`."""
    field: str = ""
    """The field that is to blame, `.action`; empty: the object."""
    reason: Literal["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired"] = "FieldValueInvalid"

    def document(self) -> dict[str, object]:
        """Return the rule as `x-kubernetes-validations` writes it."""
        parts: dict[str, object] = {"rule": self.rule, "message": self.message}
        if self.says:
            parts["messageExpression"] = self.says
        if self.field:
            parts["fieldPath"] = self.field
        if self.reason != "FieldValueInvalid":
            parts["reason"] = self.reason
        return parts


def _given(*names: str) -> str:
    return " || ".join(f"has(self.{name})" for name in names)


def _unsupported(field: str, needs: str) -> Rule:
    return Rule(
        rule=f"!has(self.{field})",
        message=f"{field} needs {needs}, which this release does not have yet; take it out",
        field=f".{field}",
        reason="FieldValueForbidden",
    )


_SCOPE: Final = Rule(
    rule="!has(self.selector) || !has(self.targetRefs) || size(self.targetRefs) == 0",
    message="selector and targetRefs cannot both be given; attach to pods by selector or to Services by targetRefs",
)
_TARGET: Final = Rule(
    rule="self.kind == 'Service' && (!has(self.group) || self.group == '')",
    message="policies attach to Services only; use Service, or leave targetRefs out to cover the whole namespace",
    says="'policies do not attach to ' + (has(self.group) && self.group != '' ? self.group + '/' : '') + self.kind + "
    "(self.kind == 'Namespace' ? '; leave targetRefs out to cover the whole namespace' : '; use Service')",
)
_AUTHORIZATION: Final = (
    _SCOPE,
    Rule(
        rule="!has(self.action) || self.action != 'CUSTOM'",
        message="action CUSTOM is not supported yet in this release; use ALLOW, DENY or AUDIT",
        field=".action",
        reason="FieldValueForbidden",
    ),
    Rule(
        rule="!has(self.provider) || (has(self.action) && self.action == 'CUSTOM')",
        message="provider is for action CUSTOM only; take it out",
        field=".provider",
        reason="FieldValueForbidden",
    ),
    Rule(
        rule="!has(self.rules) || !has(self.action) || self.action == 'ALLOW' || "
        "self.rules.all(rule, !has(rule.rateLimit))",
        message="a rate limit belongs to ALLOW rules; use action ALLOW, or a RateLimitPolicy",
        says="'a rate limit belongs to ALLOW rules, this policy says ' + self.action + "
        "'; use action ALLOW, or a RateLimitPolicy'",
        field=".rules",
        reason="FieldValueForbidden",
    ),
)
_WHERE: Final = ("principals", "notPrincipals", "namespaces", "notNamespaces")
_ACCOUNTS: Final = ("serviceAccounts", "notServiceAccounts")
_TOKENS: Final = ("requestPrincipals", "notRequestPrincipals")
_REMOTE: Final = ("remoteIpBlocks", "notRemoteIpBlocks")
_SOURCE: Final = (
    Rule(
        rule=_given(*_WHERE, *_ACCOUNTS, *_TOKENS, "ipBlocks", "notIpBlocks", *_REMOTE),
        message="an empty source matches every caller; leave from out to say so",
    ),
    Rule(
        rule=f"!({_given(*_ACCOUNTS)}) || !({_given(*_WHERE)})",
        message="serviceAccounts cannot stand beside principals or namespaces; give them a source of their own",
    ),
    *(_unsupported(field, "RequestAuthentication") for field in _TOKENS),
    *(_unsupported(field, "trusted proxies") for field in _REMOTE),
)
_OPERATIONS: Final = ("hosts", "ports", "methods", "paths", "notHosts", "notPorts", "notMethods", "notPaths")
_OPERATION: Final = (
    Rule(
        rule=_given(*_OPERATIONS),
        message="an empty operation matches every request; leave it out to say so",
    ),
)
_KEYS: Final = (
    "connection.sni", "destination.ip", "destination.port",
    "source.ip", "source.namespace", "source.principal", "source.serviceAccount",
)  # fmt: skip
_CONDITION: Final = (
    Rule(
        rule=_given("values", "notValues"),
        message="neither values nor notValues is given; add values",
        reason="FieldValueRequired",
    ),
    Rule(
        rule=f"self.key in [{', '.join(map(repr, _KEYS))}] || "
        r"self.key.matches(r'^request\.headers\[[^\[\]]+\]$')",
        message=f"this is not a condition; keys: request.headers[name], {', '.join(_KEYS)}",
        says=f'"\'" + self.key + "\' is not a condition; keys: request.headers[name], {", ".join(_KEYS)}"',
        field=".key",
    ),
)
_PEERS: Final = (
    Rule(
        rule="!has(self.portLevelMtls) || size(self.portLevelMtls) == 0 || "
        "(has(self.selector) && has(self.selector.matchLabels) && size(self.selector.matchLabels) > 0)",
        message="portLevelMtls needs a selector, because ports belong to pods; add selector.matchLabels",
        field=".portLevelMtls",
    ),
    Rule(  # what is no number at all ends the evaluation with an error that carries the message
        rule="!has(self.portLevelMtls) || "
        "self.portLevelMtls.all(port, size(port) <= 5 && int(port) >= 1 && int(port) <= 65535)",
        message="a key of portLevelMtls is not a port; 1 to 65535",
        says='"\'" + self.portLevelMtls.filter(port, size(port) > 5 || int(port) < 1 || int(port) > 65535)[0] + '
        '"\' is not a port; 1 to 65535"',
        field=".portLevelMtls",
    ),
)
_RATES: Final = (
    _SCOPE,
    Rule(
        rule="has(self.total) || has(self.identity) || (has(self.overrides) && size(self.overrides) > 0)",
        message="no rate is given; add total, identity or overrides",
        reason="FieldValueRequired",
    ),
    Rule(
        rule="!has(self.scope) || self.scope != 'Cluster'",
        message="scope Cluster is not supported yet in this release; use Local: each node counts for itself",
        field=".scope",
        reason="FieldValueForbidden",
    ),
)
_CLIENT: Final = (
    Rule(
        rule="!has(self.group) || self.group == ''",
        message="clients are ServiceAccounts; leave group out",
        field=".group",
    ),
)
_MESH_NAME: Final = (
    Rule(
        rule=f"self.metadata.name == '{MESH_NAME}'",
        message=f"the mesh has one Mesh object, named '{MESH_NAME}'; this one is not read; name it {MESH_NAME}",
    ),
)
_MESH: Final = (
    Rule(
        rule="!has(self.trustDomain) || self.trustDomain.matches('^[a-z0-9._-]{1,255}$')",
        message="a trust domain must be 1-255 characters of a-z, 0-9, '.', '-', '_'",
        says="\"trust domain '\" + self.trustDomain + \"' must be 1-255 characters of a-z, 0-9, '.', '-', '_'\"",
        field=".trustDomain",
    ),
    Rule(
        rule="!has(self.clusterDomain) || "
        r"self.clusterDomain.matches(r'^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
        message="clusterDomain is not a DNS name; write it as cluster.local",
        says='"\'" + self.clusterDomain + "\' is not a DNS name; write it as cluster.local"',
        field=".clusterDomain",
    ),
)

OBJECT_RULES: Final[dict[type, tuple[Rule, ...]]] = {
    Mesh: _MESH_NAME,
    MeshSpec: _MESH,
    AuthorizationPolicySpec: _AUTHORIZATION,
    Source: _SOURCE,
    Operation: _OPERATION,
    Condition: _CONDITION,
    TargetReference: (_TARGET,),
    PeerAuthenticationSpec: _PEERS,
    RateLimitPolicySpec: _RATES,
    ClientReference: _CLIENT,
}
"""Rules by the struct they judge."""
