"""A large cluster as documents: namespaces, nodes, Services with endpoints, policies and routes, in any number."""

from collections.abc import Iterator
from dataclasses import dataclass

from weft_testing import objects as o


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How large."""

    services: int = 5000
    replicas: int = 4
    """Pods, and endpoints, of each Service."""
    nodes: int = 200
    namespaces: int = 100
    policy_every: int = 5
    """One AuthorizationPolicy for so many Services."""
    route_every: int = 50
    mesh_wide_policies: int = 2
    exported: float = 1.0
    """Share of the namespaces that everybody is told of; the others keep to themselves."""

    def documents(self) -> Iterator[o.Doc]:
        """Yield every object."""
        yield from (self._namespace(number) for number in range(self.namespaces))
        yield from (
            o.node(f"node{number}", f"172.16.{number // 250}.{number % 250 + 1}") for number in range(self.nodes)
        )
        for number in range(self.mesh_wide_policies):
            spec = {"action": "DENY", "rules": [{"to": [{"operation": {"paths": [f"/admin{number}"]}}]}]}
            yield o.policy("AuthorizationPolicy", f"wide{number}", spec, namespace="weft-system")
        for number in range(self.services):
            yield from self.service(number)

    def _namespace(self, number: int) -> o.Doc:
        body = o.namespace(f"ns{number}")
        metadata = body["metadata"]
        assert isinstance(metadata, dict)
        if number >= self.exported * self.namespaces:
            metadata["annotations"] = {"weft.dev/exportTo": "."}
        return body

    def names(self, number: int) -> tuple[str, str]:
        """Return namespace and name of a Service."""
        return f"ns{number % self.namespaces}", f"svc{number}"

    def service(self, number: int) -> Iterator[o.Doc]:
        """Yield a Service with its pods, slice, policy and route."""
        namespace, name = self.names(number)
        address = f"10.96.{number // 250}.{number % 250 + 1}"
        port = {"name": "http", "port": 80, "targetPort": 8080}
        yield o.service(name, port, namespace=namespace, addresses=[address])
        for replica in range(self.replicas):
            yield self.pod(number, replica)
        yield self.slice(number)
        if number % self.policy_every == 0:
            rule = {"from": [{"source": {"namespaces": [namespace]}}], "to": [{"operation": {"paths": ["/a", "/b/*"]}}]}
            spec = {"selector": {"matchLabels": {"app": name}}, "rules": [rule]}
            yield o.policy("AuthorizationPolicy", name, spec, namespace=namespace)
        if number % self.route_every == 0:
            rules: list[o.Doc] = [{"backendRefs": [{"name": name, "port": 80}]}]
            yield o.route(name, [o.parent(name)], rules, namespace=namespace)

    def pod(self, number: int, replica: int, generation: int = 0) -> o.Doc:
        """Return one pod; a higher generation is another pod in its place, with another address."""
        namespace, name = self.names(number)
        index = number * self.replicas + replica
        ports: list[o.Doc] = [{"containerPort": 8080, "name": "http"}]
        suffix = f"-{generation}" if generation else ""
        return o.pod(
            f"{name}-{replica}{suffix}",
            self.address(number, replica, generation),
            namespace=namespace,
            node=f"node{index % self.nodes}",
            labels={"app": name},
            account=name,
            ports=ports,
        )

    def address(self, number: int, replica: int, generation: int = 0) -> str:
        """Return a pod's address."""
        index = number * self.replicas + replica
        return f"10.{(10 + index // 62500 + 8 * generation) % 256}.{index // 250 % 250}.{index % 250 + 1}"

    def slice(self, number: int, generations: tuple[int, ...] = (), unready: frozenset[int] = frozenset()) -> o.Doc:
        """Return the EndpointSlice of a Service, with the given generations of its pods."""
        namespace, name = self.names(number)
        endpoints: list[o.Doc] = []
        for replica in range(self.replicas):
            generation = generations[replica] if generations else 0
            index = number * self.replicas + replica
            endpoints.append(
                {
                    "addresses": [self.address(number, replica, generation)],
                    "nodeName": f"node{index % self.nodes}",
                    "conditions": {"ready": replica not in unready},
                }
            )
        return o.endpoint_slice(name, endpoints, [{"name": "http", "port": 8080}], namespace=namespace)
