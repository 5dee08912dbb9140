"""Finding what TO names: a Service's port, a pod, or an address, read as the caller's node would read it."""

from weft_cli.exits import USAGE
from weft_cli.explain.question import Target
from weft_cli.explain.world import World
from weft_cli.output import CommandError
from weft_contract.objects import Service
from weft_contract.objects.service import HEADLESS
from weft_contract.resources import Endpoint
from weft_core.errors import NoRouteError
from weft_core.routing import ServiceEntry
from weft_core.snapshot import Destination, Outside, Snapshot, ToService, classify
from weft_operator.compile.members import pod_addresses

NOTHING = Snapshot()


class Finder:
    """Finds destinations.

    Args:
        world: the cluster.
        snapshot: what the caller's node knows; None: the caller is not in the mesh, and reaches what there is.
    """

    def __init__(self, world: World, snapshot: Snapshot | None) -> None:
        self._world, self._snapshot = world, snapshot

    def find(self, target: Target) -> tuple[Destination, str]:
        """Return the destination and its name for people.

        Raises:
            CommandError: it is not there, or it has several ports and none was said.
        """
        named = target.named
        if named is None:
            return self._at(target.address, target.port or 0), f"{target.address} port {target.port}"
        service = self._world.services.get(f"{named.namespace}/{named.name}")
        if named.kind in ("", "service") and service is not None:
            return self._service(service, target.port)
        if named.kind == "service":
            raise CommandError(f"there is no Service {named.name} in namespace {named.namespace}")
        pod = self._world.find_pod(named)
        declared = [port.container_port for part in pod.spec.containers for port in part.ports]
        port = target.port if target.port is not None else _only(declared, f"pod {pod.metadata.key}")
        address = next(iter(pod_addresses(pod)), "")
        if not address:
            raise CommandError(f"pod {pod.metadata.key} has no address yet")
        return self._at(address, port), f"pod {pod.metadata.key} port {port}"

    def _service(self, service: Service, wanted: int | None) -> tuple[Destination, str]:
        key = service.metadata.key
        ports = [port.port for port in service.spec.ports if port.protocol == "TCP"]
        port = wanted if wanted is not None else _only(ports, key)
        name = f"Service {key} port {port}"
        entry = self._known(key, port)
        if entry is not None:
            return ToService(entry), name
        if port not in ports:
            raise CommandError(
                f"Service {key} has no TCP port {port}; there are {', '.join(map(str, ports)) or 'none'}"
            )
        own = service.spec.cluster_ip
        return Outside(Endpoint(address=key if own in ("", HEADLESS) else own, port=port)), name

    def _known(self, service: str, port: int) -> ServiceEntry | None:
        if self._snapshot is not None:
            return self._snapshot.services.backend(service, port)
        return self._world.backend(service, port)

    def _at(self, address: str, port: int) -> Destination:
        try:
            return classify(self._snapshot or NOTHING, address, port)
        except NoRouteError as exc:
            raise CommandError(str(exc)) from exc


def _only(ports: list[int], owner: str) -> int:
    if len(ports) == 1:
        return ports[0]
    listed = ", ".join(map(str, ports)) or "none that is declared"
    raise CommandError(f"say which port of {owner}, as NAME:PORT; there are {listed}", USAGE)
