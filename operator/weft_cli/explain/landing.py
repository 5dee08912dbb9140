"""What the node of an endpoint decides about a call that arrives there: the inbound policy, asked with its steps kept."""

from collections.abc import Iterable

from msgspec.structs import replace

from weft_cli.explain.answer import Landing, Looked
from weft_cli.explain.world import World
from weft_contract.identity import SpiffeId
from weft_contract.objects import Pod
from weft_contract.resources import Endpoint
from weft_core.decision import Allowed, Denied
from weft_core.facts import ConnectionFacts, RequestFacts
from weft_core.policy import explain
from weft_core.snapshot import WorkloadTable


class Caller:
    """Who calls, as destinations see it."""

    def __init__(self, pod: Pod, identity: SpiffeId | None, node: str) -> None:
        self.key = pod.metadata.key
        self.namespace = pod.metadata.namespace
        self.identity = identity
        self.node = node
        self._addresses = [pod.status.pod_ip, *(item.ip for item in pod.status.pod_ips)]

    def address(self, other: str) -> str:
        """Return the address it is seen with by somebody of the other's family."""
        family = ":" in other
        return next((own for own in self._addresses if own and (":" in own) == family), self._addresses[0] or "0.0.0.0")


def land(world: World, caller: Caller, endpoints: Iterable[Endpoint], request: RequestFacts | None) -> list[Landing]:
    """Ask the nodes of endpoints; those of which the same holds are told once.

    Args:
        world: the cluster.
        caller: who calls.
        endpoints: where the call may arrive.
        request: as it arrives there; None: an opaque connection.
    """
    found: dict[object, Landing] = {}
    for endpoint in endpoints:
        landing = _ask(world, caller, endpoint, request)
        alike = (landing.transport, landing.verdict, landing.reason, landing.policy, landing.rule, landing.limits)
        first = found.get(alike)
        found[alike] = landing if first is None else replace(first, alike=first.alike + 1)
    return list(found.values())


def _ask(world: World, caller: Caller, endpoint: Endpoint, request: RequestFacts | None) -> Landing:
    place = f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address
    where = f"{place}:{endpoint.port}"
    found = world.table(endpoint.address)
    if found is None:
        transport = "plain TCP: not in the mesh, nobody authorises there"
        return Landing(endpoint=where, node=endpoint.node, transport=transport)
    node, table = found
    return _judged(caller, endpoint, request, where, node, table)


def _judged(
    caller: Caller, endpoint: Endpoint, request: RequestFacts | None, where: str, node: str, table: WorkloadTable
) -> Landing:
    meshed = caller.identity is not None
    facts = ConnectionFacts(
        source=caller.identity,
        source_address=caller.address(endpoint.address),
        destination_address=endpoint.address,
        destination_port=endpoint.port,
        encrypted=meshed,
    )
    if not meshed and table.protocol(endpoint.port) not in ("http", "auto"):
        request = None
    explanation = explain(table.policy, facts, request)
    steps = tuple(
        Looked(kind=step.kind, subject=step.subject, outcome=step.outcome, detail=step.detail)
        for step in explanation.steps
    )
    transport = "plaintext" if not meshed else "this node, no wire" if node == caller.node else "mutual TLS"
    landing = Landing(endpoint=where, pod=table.key, node=node, transport=transport, steps=steps)
    verdict = explanation.verdict
    if isinstance(verdict, Denied):
        return replace(
            landing, verdict="refused", reason=verdict.reason, policy=verdict.policy, rule=verdict.rule,
            message=verdict.message, status=verdict.http_status if request is not None else 0,
        )  # fmt: skip
    return replace(landing, policy=verdict.permit.policy, rule=verdict.permit.rule, limits=_limits(verdict))


def _limits(allowed: Allowed) -> tuple[str, ...]:
    needed = [
        f"{_rate(item.limit.requests_per_second)} by {item.policy} {item.rule}".rstrip() for item in allowed.limits
    ]
    one_of = [
        f"{_rate(item.limit.requests_per_second)} by {item.policy} {item.rule}".rstrip() for item in allowed.any_of
    ]
    return (*needed, *one_of)


def _rate(per_second: float) -> str:
    return f"{per_second:g}/s"
