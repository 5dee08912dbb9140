"""Label and annotation keys, API group and kinds: the strings users write and tools search for."""

from typing import Final

GROUP: Final = "weft.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = "weft.dev/v1alpha1"
"""Written out, because a type checker reads it."""
GATEWAY_GROUP: Final = "gateway.networking.k8s.io"
GATEWAY_EXPERIMENTAL_GROUP: Final = "gateway.networking.x-k8s.io"
"""Kinds of the Gateway API that may still change; their names begin with X."""

MESH_LABEL: Final = "weft.dev/mesh"
"""On a namespace or pod (the pod wins): `enabled` or `disabled`. Absent means disabled."""
MESH_ENABLED: Final = "enabled"
MESH_DISABLED: Final = "disabled"

EXCLUDE_INBOUND_PORTS: Final = "weft.dev/excludeInboundPorts"
"""Pod annotation: comma list of ports and ranges that are not captured on arrival, as `9090,9100-9110`."""
EXCLUDE_OUTBOUND_PORTS: Final = "weft.dev/excludeOutboundPorts"
"""Pod annotation: comma list of destination ports and ranges that are not captured on leaving."""
EXCLUDE_OUTBOUND_NETWORKS: Final = "weft.dev/excludeOutboundIPRanges"
"""Pod annotation: comma list of destination networks that are not captured on leaving, as `10.0.0.0/8,fd00::/8`."""
OPAQUE_PORTS: Final = "weft.dev/opaquePorts"
"""Pod or Service annotation: ports whose bytes are never parsed."""
PRESERVE_SOURCE: Final = "weft.dev/preserveSource"
"""Pod annotation, `"true"` or `"false"`: whether the application sees the client's address (default true)."""
NETNS: Final = "weft.dev/netns"
"""Pod annotation on plain hosts: name below /run/netns of the namespace that this workload runs in."""

EXPORT_TO: Final = "weft.dev/exportTo"
"""Service or Namespace annotation: the namespaces whose pods are told of the Service(s), as `shop,billing`; `.` is the own
one, `*` (the default) is all. A Service's annotation overrides its namespace's."""

NETWORKING_ANNOTATIONS: Final = (
    EXCLUDE_INBOUND_PORTS, EXCLUDE_OUTBOUND_PORTS, EXCLUDE_OUTBOUND_NETWORKS, OPAQUE_PORTS, PRESERVE_SOURCE, NETNS,
)  # fmt: skip

REQUEST_TIMEOUT: Final = "timeout.weft.dev/request"
"""Service annotation: how long requests that no route takes may last, retries included, as `10s`; `0s` is no limit."""
BACKEND_TIMEOUT: Final = "timeout.weft.dev/backendRequest"
"""Service annotation: the same for one attempt."""
RATE_LIMIT: Final = "ratelimit.weft.dev/requestsPerSecond"
"""Service annotation: requests per second, of all callers together, that each node takes for its pods behind the Service."""
RATE_BURST: Final = "ratelimit.weft.dev/burst"
"""Service annotation: requests that may come at once; left out: one second's worth, at least 1."""

RETRY_PREFIX: Final = "retry.weft.dev/"
TIMEOUT_PREFIX: Final = "timeout.weft.dev/"
RATELIMIT_PREFIX: Final = "ratelimit.weft.dev/"

CANONICAL_NAME_LABELS: Final = ("service.istio.io/canonical-name", "app.kubernetes.io/name", "app")
"""Where a workload's application name is read from, first match wins (telemetry)."""
CANONICAL_VERSION_LABELS: Final = ("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version")

SLICE_SERVICE_LABEL: Final = "kubernetes.io/service-name"
ZONE_LABEL: Final = "topology.kubernetes.io/zone"
REGION_LABEL: Final = "topology.kubernetes.io/region"

HEADER_PREFIX: Final = b"weft-"
"""Our own header names begin so; applications' headers of that prefix are stripped before ours are set."""
