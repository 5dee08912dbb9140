"""EndpointSlices as the degraded mode reads them: with the pods behind their endpoints, which only it asks for. Shapes only."""

from weft_contract.objects.service import EndpointSlice, SliceEndpoint
from weft_contract.objects.shape import Foreign


class TargetReference(Foreign, frozen=True, kw_only=True):
    """Which object is behind an endpoint."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class SeenEndpoint(SliceEndpoint, frozen=True, kw_only=True):
    """One endpoint, and what is behind it."""

    target_ref: TargetReference | None = None

    @property
    def pod(self) -> TargetReference | None:
        """The pod behind it, where the slice names one."""
        target = self.target_ref
        return target if target and target.kind == "Pod" and target.namespace and target.name and target.uid else None


class SeenSlice(EndpointSlice, frozen=True, kw_only=True):
    """Endpoints of a Service."""

    endpoints: tuple[SeenEndpoint, ...] = ()
