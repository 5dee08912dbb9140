"""Where the other replicas are: the endpoints of our own Service, as the reflectors see them. Ours is among them."""

from collections.abc import Sequence
from typing import Final

from weft_contract.labels import SLICE_SERVICE_LABEL
from weft_contract.objects import EndpointSlice
from weft_operator.reflect import Seen

STREAM: Final = "stream"
"""The port's name in the Service."""


class Siblings:
    """Follows the endpoint slices of one Service.

    Args:
        namespace: the Service's.
        service: its name.
    """

    def __init__(self, namespace: str, service: str) -> None:
        self._namespace, self._service = namespace, service
        self._slices: dict[str, EndpointSlice] = {}

    def apply(self, items: Sequence[Seen]) -> None:
        """Take over changes; those of other objects are passed over."""
        for item in items:
            if item.kind != EndpointSlice.__name__:
                continue
            self._slices.pop(item.key, None)
            if item.held is not None and isinstance(item.held.item, EndpointSlice) and self._is_ours(item.held.item):
                self._slices[item.key] = item.held.item

    def _is_ours(self, item: EndpointSlice) -> bool:
        metadata = item.metadata
        return (metadata.namespace, metadata.labels.get(SLICE_SERVICE_LABEL)) == (self._namespace, self._service)

    def urls(self) -> Sequence[str]:
        """Return each replica's URL once, by IPv4 where the Service has it, as `https://10.0.0.1:15010`."""
        slices = list(self._slices.values())
        families = [family for family in ("IPv4", "IPv6") if any(item.address_type == family for item in slices)]
        if not families:
            return ()
        found = {
            f"[{endpoint.addresses[0]}]:{port}" if families[0] == "IPv6" else f"{endpoint.addresses[0]}:{port}"
            for item in slices
            if item.address_type == families[0]
            for port in [each.port for each in item.ports if each.name == STREAM]
            for endpoint in item.endpoints
            if endpoint.addresses and endpoint.conditions.ready is not False and port is not None
        }
        return [f"https://{address}" for address in sorted(found)]
