"""PeerAuthentication: whether callers must come through the mesh. Istio's kind and field names.

In the root namespace without selector it holds for the mesh, in another one for the namespace, with a selector for pods;
the narrowest wins, among equals the oldest. Ports are pod ports.
"""

from typing import Annotated, Literal

from msgspec import Meta, field

from weft_contract.labels import API_VERSION
from weft_contract.objects.metadata import Metadata
from weft_contract.objects.shape import Own
from weft_contract.objects.target import Selector

Mode = Literal["UNSET", "DISABLE", "PERMISSIVE", "STRICT"]


class MutualTls(Own, frozen=True, kw_only=True):
    """One mode."""

    mode: Annotated[
        Mode,
        Meta(
            description="STRICT: only authenticated callers. PERMISSIVE: plaintext too. DISABLE: plaintext only. "
            "UNSET: as the wider setting says."
        ),
    ] = "UNSET"


class PeerAuthenticationSpec(Own, frozen=True, kw_only=True):
    """What a PeerAuthentication says."""

    selector: Selector = None
    mtls: Annotated[MutualTls | None, Meta(description="The mode; left out: UNSET.")] = None
    port_level_mtls: Annotated[
        dict[str, MutualTls],
        Meta(description="Exceptions by pod port; needs a selector.", max_length=64, examples=[{"8080": {}}]),
    ] = field(default_factory=dict)


class PeerAuthentication(Own, frozen=True, kw_only=True):
    """How callers of some pods must authenticate."""

    api_version: Literal["weft.dev/v1alpha1"] = API_VERSION
    kind: Literal["PeerAuthentication"] = "PeerAuthentication"
    metadata: Metadata
    spec: PeerAuthenticationSpec = PeerAuthenticationSpec()
    status: dict[str, object] = field(default_factory=dict)
