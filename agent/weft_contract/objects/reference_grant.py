"""ReferenceGrant of the Gateway API: a namespace's leave for references from others."""

from typing import Annotated, Literal

from msgspec import Meta

from weft_contract.objects.metadata import Metadata
from weft_contract.objects.route import GatewayVersion
from weft_contract.objects.shape import ObjectName, Own


class GrantFrom(Own, frozen=True, kw_only=True):
    """Who may refer."""

    group: str
    kind: str
    namespace: str


class GrantTo(Own, frozen=True, kw_only=True):
    """What may be referred to."""

    group: str
    kind: str
    name: ObjectName | None = None
    """None: every object of the kind."""


class ReferenceGrantSpec(Own, frozen=True, kw_only=True):
    """Any of `from` may refer to any of `to`."""

    from_: Annotated[tuple[GrantFrom, ...], Meta(min_length=1, max_length=16)]
    to: Annotated[tuple[GrantTo, ...], Meta(min_length=1, max_length=16)]


class ReferenceGrant(Own, frozen=True, kw_only=True):
    """Leave to refer to objects of its namespace."""

    api_version: GatewayVersion = "gateway.networking.k8s.io/v1"
    kind: Literal["ReferenceGrant"] = "ReferenceGrant"
    metadata: Metadata
    spec: ReferenceGrantSpec
