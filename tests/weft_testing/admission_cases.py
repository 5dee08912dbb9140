"""Objects that must be refused, each with the words that must be said, and objects beside them that must be taken.

The same table judges the contract's checks, the CRDs' CEL rules on a real API server, and the webhook, so that the three
cannot drift apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from weft_testing.objects import Doc, policy

NAMESPACE = "shop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """One object that must not be taken."""

    name: str
    item: Doc
    words: str
    """What the author is told: message and remedy of the check, and what the API server says too."""
    rule: str = ""
    """The fixed message of the CEL rule, where it differs from `words` because it cannot quote the object."""
    path: str
    """Where, as the checks say it."""


def _authorization(name: str, **spec: object) -> Doc:
    return policy("AuthorizationPolicy", name, spec, namespace=NAMESPACE)


def _rule(**rule: object) -> list[Mapping[str, object]]:
    return [rule]


def _source(**source: object) -> list[Mapping[str, object]]:
    return _rule(**{"from": [{"source": source}]})


def _rates(name: str, **spec: object) -> Doc:
    return policy("RateLimitPolicy", name, spec, namespace=NAMESPACE)


def _mesh(name: str = "default", **spec: object) -> Doc:
    return {"apiVersion": "weft.dev/v1alpha1", "kind": "Mesh", "metadata": {"name": name}, "spec": spec}


_SELECTOR = {"matchLabels": {"app": "web"}}
_SERVICE = {"kind": "Service", "name": "web"}
_BOTH = "selector and targetRefs cannot both be given; attach to pods by selector or to Services by targetRefs"
_NO_TARGET = "policies attach to Services only; use Service, or leave targetRefs out to cover the whole namespace"
_RATE = {"requestsPerSecond": 10}
_NO_CONDITION = (
    "is not a condition; keys: request.headers[name], connection.sni, destination.ip, destination.port, source.ip, "
    "source.namespace, source.principal, source.serviceAccount"
)

REFUSED = (
    Refused(
        name="both-scopes",
        item=_authorization("both-scopes", selector=_SELECTOR, targetRefs=[_SERVICE], rules=[{}]),
        words=_BOTH,
        path="$.spec",
    ),
    Refused(
        name="custom",
        item=_authorization("custom", action="CUSTOM", provider={"name": "opa"}, rules=[{}]),
        words="action CUSTOM is not supported yet in this release; use ALLOW, DENY or AUDIT",
        path="$.spec.action",
    ),
    Refused(
        name="provider",
        item=_authorization("provider", provider={"name": "opa"}, rules=[{}]),
        words="provider is for action CUSTOM only; take it out",
        path="$.spec.provider",
    ),
    Refused(
        name="rate-of-deny",
        item=_authorization("rate-of-deny", action="DENY", rules=_rule(rateLimit=_RATE)),
        words="a rate limit belongs to ALLOW rules, this policy says DENY; use action ALLOW, or a RateLimitPolicy",
        rule="a rate limit belongs to ALLOW rules; use action ALLOW, or a RateLimitPolicy",
        path="$.spec.rules[0].rateLimit",
    ),
    Refused(
        name="target-namespace",
        item=_authorization("target-namespace", targetRefs=[{"kind": "Namespace", "name": "shop"}], rules=[{}]),
        words="policies do not attach to Namespace; leave targetRefs out to cover the whole namespace",
        rule=_NO_TARGET,
        path="$.spec.targetRefs[0]",
    ),
    Refused(
        name="target-deployment",
        item=_rates(
            "target-deployment", targetRefs=[{"group": "apps", "kind": "Deployment", "name": "web"}], total=_RATE
        ),
        words="policies do not attach to apps/Deployment; use Service",
        rule=_NO_TARGET,
        path="$.spec.targetRefs[0]",
    ),
    Refused(
        name="empty-source",
        item=_authorization("empty-source", rules=_source()),
        words="an empty source matches every caller; leave from out to say so",
        path="$.spec.rules[0].from[0].source",
    ),
    Refused(
        name="accounts-and-principals",
        item=_authorization("accounts-and-principals", rules=_source(serviceAccounts=["web"], namespaces=["shop"])),
        words="serviceAccounts cannot stand beside principals or namespaces; give them a source of their own",
        path="$.spec.rules[0].from[0].source",
    ),
    *(
        Refused(
            name=field.lower(),
            item=_authorization(field.lower(), rules=_source(**{field: ["x"], "namespaces": ["shop"]})),
            words=f"{field} needs RequestAuthentication, which this release does not have yet; take it out",
            path=f"$.spec.rules[0].from[0].source.{field}",
        )
        for field in ("requestPrincipals", "notRequestPrincipals")
    ),
    *(
        Refused(
            name=field.lower(),
            item=_authorization(field.lower(), rules=_source(**{field: ["10.0.0.0/8"], "namespaces": ["shop"]})),
            words=f"{field} needs trusted proxies, which this release does not have yet; take it out",
            path=f"$.spec.rules[0].from[0].source.{field}",
        )
        for field in ("remoteIpBlocks", "notRemoteIpBlocks")
    ),
    Refused(
        name="empty-operation",
        item=_authorization("empty-operation", rules=_rule(to=[{"operation": {}}])),
        words="an empty operation matches every request; leave it out to say so",
        path="$.spec.rules[0].to[0].operation",
    ),
    Refused(
        name="empty-match",
        item=_rates("empty-match", total=_RATE, match=[{}]),
        words="an empty operation matches every request; leave it out to say so",
        path="$.spec.match[0]",
    ),
    Refused(
        name="no-values",
        item=_authorization("no-values", rules=_rule(when=[{"key": "source.ip"}])),
        words="neither values nor notValues is given; add values",
        path="$.spec.rules[0].when[0]",
    ),
    Refused(
        name="no-condition",
        item=_authorization("no-condition", rules=_rule(when=[{"key": "request.header", "values": ["x"]}])),
        words=f"'request.header' {_NO_CONDITION}",
        rule=f"this {_NO_CONDITION}",
        path="$.spec.rules[0].when[0].key",
    ),
    Refused(
        name="ports-of-everybody",
        item=policy(
            "PeerAuthentication",
            "ports-of-everybody",
            {"mtls": {"mode": "STRICT"}, "portLevelMtls": {"8080": {"mode": "PERMISSIVE"}}},
            namespace=NAMESPACE,
        ),
        words="portLevelMtls needs a selector, because ports belong to pods; add selector.matchLabels",
        path="$.spec.portLevelMtls",
    ),
    *(
        Refused(
            name=f"port-{port}",
            item=policy(
                "PeerAuthentication",
                f"port-{port}",
                {"selector": _SELECTOR, "portLevelMtls": {"8080": {}, port: {"mode": "STRICT"}}},
                namespace=NAMESPACE,
            ),
            words=f"'{port}' is not a port; 1 to 65535",
            rule="a key of portLevelMtls is not a port; 1 to 65535",
            path=f"$.spec.portLevelMtls['{port}']",
        )
        for port in ("0", "65536", "123456")
    ),
    Refused(
        name="no-rate",
        item=_rates("no-rate"),
        words="no rate is given; add total, identity or overrides",
        path="$.spec",
    ),
    Refused(
        name="both-scopes-of-rates",
        item=_rates("both-scopes-of-rates", selector=_SELECTOR, targetRefs=[_SERVICE], total=_RATE),
        words=_BOTH,
        path="$.spec",
    ),
    Refused(
        name="cluster-scope",
        item=_rates("cluster-scope", scope="Cluster", total=_RATE),
        words="scope Cluster is not supported yet in this release; use Local: each node counts for itself",
        path="$.spec.scope",
    ),
    Refused(
        name="client-group",
        item=_rates(
            "client-group",
            overrides=[{"requestsPerSecond": 5, "clientRefs": [{"group": "apps", "name": "web"}]}],
        ),
        words="clients are ServiceAccounts; leave group out",
        path="$.spec.overrides[0].clientRefs[0].group",
    ),
    Refused(
        name="second-mesh",
        item=_mesh("second"),
        words="the mesh has one Mesh object, named 'default'; this one is not read; name it default",
        path="$.metadata.name",
    ),
    Refused(
        name="trust-domain",
        item=_mesh(trustDomain="Cluster.Local"),
        words="trust domain 'Cluster.Local' must be 1-255 characters of a-z, 0-9, '.', '-', '_'",
        rule="a trust domain must be 1-255 characters of a-z, 0-9, '.', '-', '_'",
        path="$.spec.trustDomain",
    ),
    Refused(
        name="cluster-domain",
        item=_mesh(clusterDomain="cluster..local"),
        words="'cluster..local' is not a DNS name; write it as cluster.local",
        rule="clusterDomain is not a DNS name; write it as cluster.local",
        path="$.spec.clusterDomain",
    ),
)
"""One object for each CEL rule, at least."""

TAKEN: tuple[Doc, ...] = (
    _authorization("nothing"),
    _authorization("everything-allowed", rules=[{}]),
    _authorization("no-targets", selector=_SELECTOR, targetRefs=[], rules=[{}]),
    _authorization("by-service", targetRefs=[{**_SERVICE, "sectionName": "http"}], action="DENY", rules=[{}]),
    _authorization("group-of-core", targetRefs=[{**_SERVICE, "group": ""}], action="AUDIT", mode="DryRun", rules=[{}]),
    _authorization(
        "every-field",
        selector=_SELECTOR,
        action="ALLOW",
        mode="Enforce",
        rules=[
            {
                "from": [
                    {
                        "source": {
                            "principals": ["cluster.local/ns/shop/sa/web", "cluster.local/ns/ops/sa/*"],
                            "notPrincipals": ["cluster.local/ns/shop/sa/bad"],
                            "namespaces": ["shop", "team-*"],
                            "notNamespaces": ["dev"],
                            "ipBlocks": ["10.0.0.7", "fd00::/8"],
                            "notIpBlocks": ["10.1.0.0/16"],
                        }
                    },
                    {"source": {"serviceAccounts": ["web", "ops/bot"], "notServiceAccounts": ["old"]}},
                ],
                "to": [
                    {
                        "operation": {
                            "hosts": ["web.shop.svc.cluster.local"],
                            "notHosts": ["*.internal"],
                            "ports": [8080, "9090"],
                            "notPorts": [9091],
                            "methods": ["GET", "POST"],
                            "notMethods": ["TRACE"],
                            "paths": ["/foo", "/shops/{*}/items", "/files/*"],
                            "notPaths": ["/foo/secret"],
                        }
                    }
                ],
                "when": [
                    {"key": "request.headers[x-team]", "values": ["a"]},
                    {"key": "source.ip", "notValues": ["10.2.0.0/16"]},
                    {"key": "destination.port", "values": ["8080"]},
                ],
                "rateLimit": {"requestsPerSecond": 0.5, "burst": 3, "per": "Total"},
            }
        ],
    ),
    policy("PeerAuthentication", "nothing", {}, namespace=NAMESPACE),
    policy(
        "PeerAuthentication",
        "every-field",
        {"selector": _SELECTOR, "mtls": {"mode": "STRICT"}, "portLevelMtls": {"8080": {"mode": "PERMISSIVE"}}},
        namespace=NAMESPACE,
    ),
    policy("PeerAuthentication", "no-ports", {"mtls": {"mode": "STRICT"}, "portLevelMtls": {}}, namespace=NAMESPACE),
    _rates(
        "every-field",
        targetRefs=[_SERVICE],
        scope="Local",
        match=[{"paths": ["/foo"], "methods": ["GET"]}],
        total={"requestsPerSecond": 100, "burst": 200},
        identity=_RATE,
        overrides=[
            {
                "requestsPerSecond": 50,
                "burst": 60,
                "clientRefs": [{"group": "", "kind": "ServiceAccount", "name": "batch", "namespace": "ops"}],
            }
        ],
    ),
    _rates("by-override", overrides=[{"requestsPerSecond": 1, "clientRefs": [{"name": "web"}]}]),
    _mesh(
        trustDomain="prod.example_1",
        clusterDomain="cluster.local",
        defaultMode="STRICT",
        explainRefusals="Always",
        telemetry={"accessLog": "All", "accessLogSamplingPercent": 12.5},
    ),
)
"""Objects that every one of them must take; warnings are no refusals."""
