"""What is done about one object's status, and when."""

from weft_contract.objects import ParentReference
from weft_operator.compile import AncestorResult, ObjectResult, ParentResult, Verdict
from weft_operator.conditions import Progress
from weft_operator.controllers.outlook import Look
from weft_operator.controllers.plan import (
    GRACE_S,
    PROGRESS_S,
    RETURN_S,
    SETTLE_S,
    Leave,
    Plan,
    Times,
    Wait,
    Write,
    plan,
)
from weft_operator.controllers.resources import CONTROLLER_NAME
from weft_testing import objects as o
from weft_testing.objects import Doc

STAMP = "2026-01-01T00:00:00Z"
YES = Verdict(holds=True, reason="Accepted")
NO = Verdict(holds=False, reason="Invalid", message="$.spec: no")


def policy(generation: int = 2, status: object = None, **metadata: object) -> Doc:
    item: Doc = {
        "apiVersion": "weft.dev/v1alpha1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "web", "namespace": "shop", "generation": generation, **metadata},
        "spec": {},
    }
    return item if status is None else {**item, "status": status}


def look(verdict: Verdict = YES, generation: int = 2, needed: int = 3, *lagging: str) -> Look:
    result = ObjectResult(
        kind="AuthorizationPolicy", namespace="shop", name="web", generation=generation, source="", accepted=verdict
    )
    return Look(result=result, progress=Progress(needed=needed, lagging=lagging))


def decide(
    item: Doc, seen: Look | None, now: float = 100.0, since: float = 0.0, written: float = 0.0, missed: float = 0.0
) -> Plan:
    times = Times(now=now, since=since, written=written, missed=missed)
    return plan(item, seen, times, form="conditions", stamp=STAMP)


def written(item: Doc, seen: Look | None) -> dict[str, object]:
    decided = decide(item, seen)
    assert isinstance(decided, Write)
    return decided.status


def test_a_verdict_is_written_and_then_left() -> None:
    status = written(policy(), look())
    assert decide(policy(status=status), look()) == Leave()


def test_a_new_verdict_is_written() -> None:
    status = written(policy(), look())
    decided = decide(policy(status=status), look(NO))
    assert isinstance(decided, Write)


def test_without_a_verdict_we_wait_and_then_say_that_we_do_not_know() -> None:
    assert decide(policy(), None, now=0.5) == Wait(GRACE_S - 0.5)
    status = written(policy(), None)
    assert [item["status"] for item in status["conditions"]] == ["Unknown"] * 3  # type: ignore[attr-defined]  # a list
    assert isinstance(decide(policy(status=status), None), Wait)


def test_a_verdict_about_another_generation_is_none() -> None:
    status = written(policy(), look())
    newer = policy(generation=3, status=status)
    assert decide(newer, look(), now=0.1) == Wait(GRACE_S - 0.1)
    assert isinstance(decide(newer, look()), Wait), "the old conditions say themselves that they are old"
    assert isinstance(decide(newer, look(generation=3)), Write)
    assert isinstance(decide(policy(generation=1), look(), now=0.1), Wait)


def test_an_accepted_generation_is_announced_when_it_is_in_force() -> None:
    status = written(policy(), look())
    newer = policy(generation=3, status=status)
    assert decide(newer, look(YES, 3, 3, "n2"), now=0.5) == Wait(SETTLE_S - 0.5)
    assert isinstance(decide(newer, look(YES, 3, 3), now=0.5), Write)
    assert isinstance(decide(newer, look(YES, 3, 3, "n2"), now=SETTLE_S), Write), "a node that is away holds nobody up"


def test_a_refusal_is_told_at_once() -> None:
    status = written(policy(), look())
    newer = policy(generation=3, status=status)
    assert isinstance(decide(newer, look(NO, 3, 3, "n2"), now=0.0), Write)
    refused = Look(result=look(YES, 3).result, progress=Progress(needed=3, refused={"n1": "too big"}))
    assert isinstance(decide(newer, refused, now=0.0), Write)


def test_progress_alone_is_written_now_and_then() -> None:
    status = written(policy(), look(YES, 2, 3, "n2", "n3"))
    item = policy(status=status)
    assert decide(item, look(YES, 2, 3, "n3"), now=100.0, written=99.5) == Wait(PROGRESS_S - 0.5)
    assert isinstance(decide(item, look(YES, 2, 3, "n3"), now=101.0, written=99.5), Write)
    assert isinstance(decide(item, look(NO, 2, 3, "n3"), now=100.0, written=99.9), Write), "a verdict does not wait"


def test_an_object_on_its_way_out_is_left_alone() -> None:
    assert decide(policy(deletionTimestamp=STAMP), look()) == Leave()


# -- routes -------------------------------------------------------------------------------------------------------

SERVICE: Doc = {"group": "", "kind": "Service", "name": "web"}
GATEWAY: Doc = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"}
FOREIGN: Doc = {"parentRef": GATEWAY, "controllerName": "example.com/gw", "conditions": []}


def route(*parents: Doc, entries: list[Doc] | None = None) -> Doc:
    item: Doc = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "r", "namespace": "shop", "generation": 1},
        "spec": {"parentRefs": list(parents)},
    }
    return item if entries is None else {**item, "status": {"parents": entries}}


def route_look(*verdicts: Verdict) -> Look:
    parents = tuple(
        ParentResult(
            parent=ParentReference(name="web"),
            accepted=verdict,
            resolved_refs=Verdict(holds=True, reason="ResolvedRefs"),
        )
        for verdict in verdicts
    )
    result = ObjectResult(
        kind="HTTPRoute", namespace="shop", name="r", generation=1, source="", accepted=verdicts[0], parents=parents
    )
    return Look(result=result, progress=Progress(needed=1))


def decide_route(item: Doc, seen: Look | None, now: float = 100.0) -> Plan:
    return plan(item, seen, Times(now=now, since=0.0), form="parents", stamp=STAMP)


def test_a_route_of_somebody_else_is_left_alone() -> None:
    for entries in (None, [], [FOREIGN]):
        assert decide_route(route(GATEWAY, entries=entries), None) == Leave()
        assert decide_route(route(entries=entries), None) == Leave()


def test_our_entries_are_added_beside_those_of_others_and_go_with_our_parent() -> None:
    decided = decide_route(route(SERVICE, GATEWAY, entries=[FOREIGN]), route_look(YES))
    assert isinstance(decided, Write)
    entries = decided.status["parents"]
    assert isinstance(entries, list)
    assert [entry["controllerName"] for entry in entries] == ["example.com/gw", CONTROLLER_NAME]
    assert decide_route(route(SERVICE, GATEWAY, entries=entries), route_look(YES)) == Leave()
    gone = decide_route(route(GATEWAY, entries=entries), None, now=0.0)
    assert gone == Write({"parents": [FOREIGN]})


def test_what_else_the_status_has_stays() -> None:
    item = {**route(SERVICE), "status": {"parents": [], "future": 1}}
    decided = decide_route(item, route_look(YES))
    assert isinstance(decided, Write)
    assert decided.status["future"] == 1


def test_a_route_without_a_verdict_is_waited_for_and_then_unknown() -> None:
    assert isinstance(decide_route(route(SERVICE), None, now=0.0), Wait)
    decided = decide_route(route(SERVICE), None)
    assert isinstance(decided, Write)
    assert "Unknown" in str(decided.status)


# -- policies of the Gateway API ----------------------------------------------------------------------------------


def decide_traffic(item: Doc, accepted: Verdict | None, *, judged: bool = True, now: float = 100.0) -> Plan:
    """Decide about a policy that is told one thing at Service `shop/web`; None: the Service is not in the mesh."""
    ancestors = () if accepted is None else (AncestorResult(service="shop/web", accepted=accepted),)
    result = ObjectResult(
        kind="XBackendTrafficPolicy",
        namespace="shop",
        name="t",
        generation=0,
        source="",
        accepted=accepted or NO,
        ancestors=ancestors,
    )
    seen = Look(result=result, progress=Progress(needed=0)) if judged else None
    return plan(item, seen, Times(now=now, since=0.0), form="ancestors", stamp=STAMP)


def test_a_policy_has_our_entry_beside_others_for_as_long_as_its_target_is_in_the_mesh() -> None:
    theirs: Doc = {"ancestorRef": GATEWAY, "controllerName": "example.com/gw", "conditions": []}
    item = {**o.backend_traffic("t", "web"), "status": {"ancestors": [theirs], "future": 1}}
    decided = decide_traffic(item, NO)
    assert isinstance(decided, Write)
    entries = decided.status["ancestors"]
    assert isinstance(entries, list)
    assert entries[0] == theirs
    assert entries[1]["controllerName"] == CONTROLLER_NAME
    told = {**item, "status": decided.status}
    assert decide_traffic(told, NO) == Leave()
    assert decide_traffic(told, None) == Write({"ancestors": [theirs], "future": 1})


def test_a_policy_is_told_nothing_before_it_is_known_to_be_our_business() -> None:
    item = o.backend_traffic("t", "web")
    assert decide_traffic(item, None) == Leave()
    assert isinstance(decide_traffic(item, None, judged=False), Wait)
    assert decide_traffic(o.backend_traffic("t"), None, judged=False) == Leave()


def test_a_node_that_is_missing_for_a_moment_is_not_written_about() -> None:
    settled = policy(status=written(policy(), look()))
    assert decide(settled, look(YES, 2, 3, "n2"), missed=95.0) == Wait(RETURN_S - 5.0)
    gone = decide(settled, look(YES, 2, 3, "n2"), missed=90.0)
    assert isinstance(gone, Write), "it does not come back"
    assert isinstance(decide(policy(status=gone.status), look(YES, 2, 3, "n2", "n3"), missed=99.0), Write)
    assert isinstance(decide(policy(status=gone.status), look(), missed=99.0), Write), "that it is back is told at once"


def test_a_refusal_does_not_wait_for_anybody_to_return() -> None:
    settled, seen = policy(status=written(policy(), look())), look()
    refused = Look(result=seen.result, progress=Progress(needed=3, refused={"n2": "no"}))
    assert isinstance(decide(settled, refused, missed=99.9), Write)
