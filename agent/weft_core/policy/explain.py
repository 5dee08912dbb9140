"""Why a connection or request is (or would be) let through: the same code as live traffic, with its steps kept."""

from dataclasses import dataclass

from weft_core.decision import Allowed, Decision, Denied
from weft_core.facts import ConnectionFacts, RequestFacts
from weft_core.policy.inbound import InboundPolicy
from weft_core.policy.steps import Step
from weft_core.text import show_bytes


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision and the steps that led to it, in order; the last step is the verdict."""

    steps: tuple[Step, ...]
    verdict: Decision


def explain(policy: InboundPolicy, facts: ConnectionFacts, request: RequestFacts | None = None) -> Explanation:
    """Decide as live traffic would, and tell how.

    Args:
        policy: the workload's inbound policy.
        facts: the connection.
        request: the request; None asks about the connection as opaque.

    Returns:
        Steps for facts, mode, every policy and rule that was looked at with the first condition that failed, limits, and
        the verdict, which equals what `admit` and then `request` or `tcp` return.
    """
    steps = [_connection_step(facts)]
    if request is not None:
        steps.append(_request_step(request))
    admitted = policy.narrow(facts, steps)
    verdict = admitted if isinstance(admitted, Denied) else admitted.decide(request, steps)
    steps.append(_verdict_step(verdict))
    return Explanation(tuple(steps), verdict)


def _connection_step(facts: ConnectionFacts) -> Step:
    source = facts.source.principal if facts.source is not None else "no identity"
    detail = f"from {facts.source_address} ({source}) to {facts.destination_address} port {facts.destination_port}"
    detail += ", encrypted" if facts.encrypted else ", plaintext"
    detail += ", may be a probe" if facts.is_probe else ""
    return Step("facts", "connection", "given", detail)


def _request_step(request: RequestFacts) -> Step:
    host = show_bytes(request.host) or "none"
    return Step("facts", "request", "given", f"{show_bytes(request.method)} {show_bytes(request.path)}, host {host}")


def _verdict_step(verdict: Decision) -> Step:
    match verdict:
        case Allowed(permit=permit):
            name = f"{permit.policy} {permit.rule}".strip() or "no ALLOW policy applies"
            return Step("verdict", "allowed", "passed", name)
        case Denied(reason=reason, message=message):
            return Step("verdict", reason, "refused", message)
