"""The kinds that the compiler reads in a cluster, and where the API server serves each."""

from dataclasses import dataclass
from typing import Final

from weft_contract.labels import GROUP
from weft_contract.objects import KINDS
from weft_operator.crds import NAMES
from weft_operator.live.cluster import COMPILED_KINDS

_PLURALS: Final = {
    "Namespace": "namespaces",
    "Node": "nodes",
    "Pod": "pods",
    "Service": "services",
    "EndpointSlice": "endpointslices",
    "ReferenceGrant": "referencegrants",
    "HTTPRoute": "httproutes",
    "GRPCRoute": "grpcroutes",
    "TCPRoute": "tcproutes",
    "TLSRoute": "tlsroutes",
    "XBackendTrafficPolicy": "xbackendtrafficpolicies",
    **{names.kind: names.plural for names in NAMES},
}
_BUILT_IN: Final = frozenset({"", "discovery.k8s.io"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReflectedKind:
    """One kind."""

    kind: str
    group: str
    plural: str
    versions: tuple[str, ...]
    """Values of `apiVersion` that we can read, the best first."""
    strict: bool
    """Whether nulls and unknown fields are problems."""

    @property
    def may_be_missing(self) -> bool:
        """Whether it comes with a CustomResourceDefinition, which need not be installed."""
        return self.group not in _BUILT_IN

    @property
    def is_ours(self) -> bool:
        """Whether its CustomResourceDefinition is part of the mesh."""
        return self.group == GROUP

    def path(self, api_version: str) -> str:
        """Return the path of the collection of all namespaces."""
        return f"/{'apis' if '/' in api_version else 'api'}/{api_version}/{self.plural}"


REFLECTED: Final = {
    kind: ReflectedKind(kind=kind, group=group, plural=_PLURALS[kind], versions=info.versions, strict=info.strict)
    for (group, kind), info in KINDS.items()
    if kind in COMPILED_KINDS
}
"""By kind."""
