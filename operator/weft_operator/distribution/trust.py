"""Which nodes do not have the roots in force yet: what the replacement of a root waits for."""

from collections.abc import Sequence

from weft_contract.codec import decode_resource
from weft_contract.problems import ContractError
from weft_contract.resources import TrustBundle
from weft_operator.distribution.hub import Hub
from weft_operator.distribution.session import State


def lacking_roots(hub: Hub, trust_domain: str, roots: Sequence[str]) -> tuple[str, ...] | None:
    """Return the nodes that do not have exactly these roots in force.

    Nodes that run members count, and those that are connected; one that is away lacks them.

    Args:
        hub: what nodes should hold and have acknowledged.
        trust_domain: whose roots.
        roots: PEM certificates, in any order.

    Returns:
        Their names, sorted; None: nothing is known yet.
    """
    if not hub.ready:
        return None
    nodes = sorted(hub.board.nodes_in_use() | {status.node for status in hub.nodes} | hub.elsewhere.nodes)
    item = next((hub.board.find(node, f"TrustBundle/{trust_domain}") for node in nodes), None)
    if not nodes:
        return ()
    if item is None or _roots(item.body) != {root.strip() for root in roots}:
        return tuple(nodes)  # the compiler has not seen these roots yet
    return tuple(node for node in nodes if hub.state(node, item)[0] is not State.IN_FORCE)


def _roots(body: bytes) -> set[str]:
    try:
        resource = decode_resource(body)
    except ContractError:
        return set()
    return {root.strip() for root in resource.roots} if isinstance(resource, TrustBundle) else set()
