"""The kinds whose status the leader writes, and how each is addressed."""

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

from weft_contract.labels import GATEWAY_EXPERIMENTAL_GROUP, GATEWAY_GROUP, GROUP, VERSION
from weft_operator.crds import NAMES

CONTROLLER_NAME: Final = "weft.dev/mesh"
"""Our `controllerName` in the status of routes and of the Gateway API's policies."""
Form: TypeAlias = Literal["conditions", "parents", "ancestors"]
"""What a status is made of: an object's own conditions, a route's at each parent, or a Gateway API policy's at each ancestor."""


class Reference(NamedTuple):
    """One object."""

    kind: str
    key: str
    """`namespace/name`, or the name alone."""

    @property
    def namespace(self) -> str:
        """Empty for kinds without a namespace."""
        return self.key.rpartition("/")[0]

    @property
    def name(self) -> str:
        """The object's name."""
        return self.key.rpartition("/")[2]

    def __str__(self) -> str:
        """Give the form of messages, `HTTPRoute shop/web`."""
        return f"{self.kind} {self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One kind."""

    kind: str
    group: str
    plural: str
    version: str | None
    """None: the one that the API server prefers."""
    form: Form


WATCHED: Final = {
    **{
        names.kind: Watched(kind=names.kind, group=GROUP, plural=names.plural, version=VERSION, form="conditions")
        for names in NAMES
    },
    **{
        kind: Watched(kind=kind, group=GATEWAY_GROUP, plural=f"{kind.lower()}s", version=None, form="parents")
        for kind in ("HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute")
    },
    "XBackendTrafficPolicy": Watched(
        kind="XBackendTrafficPolicy",
        group=GATEWAY_EXPERIMENTAL_GROUP,
        plural="xbackendtrafficpolicies",
        version=None,
        form="ancestors",
    ),
}
"""By kind. Gateway API kinds may be missing from a cluster, or come later."""


def status_path(api_version: str, reference: Reference) -> str:
    """Return the path of an object; its status is at `/status` below it."""
    plural = WATCHED[reference.kind].plural
    namespace = f"/namespaces/{reference.namespace}" if reference.namespace else ""
    return f"/apis/{api_version}{namespace}/{plural}/{reference.name}"
