"""Small sets of node resources, and large ones for measurements."""

from weft_contract.resources import (
    Endpoint,
    Endpoints,
    Node,
    Peers,
    Resource,
    Service,
    ServicePort,
    TrustBundle,
    Workload,
)

NODE = Node(name="n1", trust_domain="cluster.local", addresses=("192.168.0.1",))
BUNDLE = TrustBundle(trust_domain="cluster.local", roots=("-----BEGIN CERTIFICATE-----",))


def workload(name: str, *addresses: str, policies: tuple[str, ...] = (), limits: tuple[str, ...] = ()) -> Workload:
    return Workload(
        namespace="shop",
        name=name,
        uid=f"uid-{name}",
        service_account=name,
        identity=f"spiffe://cluster.local/ns/shop/sa/{name}",
        addresses=addresses,
        policies=policies,
        rate_limits=limits,
    )


def large(services: int = 5000, endpoints_each: int = 4) -> list[Resource]:
    """Services with a cluster IP of each family and one port, and their endpoints."""
    resources: list[Resource] = [NODE, BUNDLE, Peers(namespace="ns0")]
    for index in range(services):
        namespace, name = f"ns{index % 50}", f"svc{index}"
        high, low = divmod(index, 250)
        resources.append(
            Service(
                namespace=namespace,
                name=name,
                addresses=(f"10.96.{high}.{low}", f"fd96::{index:x}"),
                ports=(ServicePort(port=80, name="http", protocol="http"),),
            )
        )
        resources.append(members(index, endpoints_each))
    return resources


def members(index: int, count: int, *, ready: bool = True) -> Endpoints:
    """The endpoints of the Service of that number."""
    high, low = divmod(index, 250)
    return Endpoints(
        namespace=f"ns{index % 50}",
        service=f"svc{index}",
        port=80,
        endpoints=tuple(
            Endpoint(
                address=f"10.{100 + each}.{high}.{low}",
                port=8080,
                identity=f"spiffe://cluster.local/ns/ns{index % 50}/sa/svc{index}",
                node=f"n{index % 200}",
                ready=ready,
            )
            for each in range(count)
        ),
    )
