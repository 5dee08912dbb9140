"""Writing Events: in the form the API takes, once, few, and never at the cost of anything else."""

from collections.abc import Mapping

import pytest

from weft_operator.conditions import Notice
from weft_operator.controllers.events import BURST, REFILL_S, Recorder
from weft_operator.controllers.store import Body
from weft_testing.memory_api import MemoryApi

pytestmark = pytest.mark.asyncio

ITEM: Body = {
    "apiVersion": "weft.dev/v1alpha1",
    "kind": "AuthorizationPolicy",
    "metadata": {"name": "web", "namespace": "shop", "uid": "u1", "generation": 2, "resourceVersion": "7"},
}
ACCEPTED = Notice(type="Normal", reason="Accepted", note="accepted")


async def test_an_event_is_written_as_the_api_takes_it() -> None:
    api = MemoryApi()
    await Recorder(api, "replica-1", wall=lambda: 1_767_225_600.25).tell("web", ITEM, ACCEPTED)
    [event] = api.events
    assert event["metadata"]["name"] == ACCEPTED.event_name("web", "u1")
    assert {key: value for key, value in event.items() if key != "metadata"} == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "eventTime": "2026-01-01T00:00:00.250000Z",
        "reportingController": "weft.dev/operator",
        "reportingInstance": "replica-1",
        "action": "Judge",
        "type": "Normal",
        "reason": "Accepted",
        "note": "accepted",
        "regarding": {
            "apiVersion": "weft.dev/v1alpha1",
            "kind": "AuthorizationPolicy",
            "name": "web",
            "namespace": "shop",
            "uid": "u1",
            "resourceVersion": "7",
        },
    }


async def test_what_was_told_by_another_replica_is_not_told_again() -> None:
    api = MemoryApi()
    for replica in ("replica-1", "replica-2"):
        await Recorder(api, replica).tell("web", ITEM, ACCEPTED)
    assert len(api.events) == 1


async def test_one_object_cannot_flood_the_api_server_and_others_are_not_held_up() -> None:
    api, now = MemoryApi(), 0.0
    recorder = Recorder(api, "replica-1", clock=lambda: now)
    for number in range(BURST + 5):
        await recorder.tell("web", ITEM, Notice(type="Normal", reason="Accepted", note=str(number)))
    assert (len(api.events), recorder.dropped) == (BURST, 5)
    await recorder.tell("api", ITEM, Notice(type="Normal", reason="Accepted", note="of another"))
    assert len(api.events) == BURST + 1
    now = REFILL_S
    for number in range(2):
        await recorder.tell("web", ITEM, Notice(type="Normal", reason="Accepted", note=f"later {number}"))
    assert len(api.events) == BURST + 2
    recorder.forget("web")
    await recorder.tell("web", ITEM, Notice(type="Normal", reason="Accepted", note="anew"))
    assert len(api.events) == BURST + 3


async def test_an_event_that_cannot_be_written_is_lost_and_nothing_else() -> None:
    class Away(MemoryApi):
        async def create(self, path: str, item: Mapping[str, object]) -> Body:
            raise OSError("no route to host")

    await Recorder(Away(), "replica-1").tell("web", ITEM, ACCEPTED)
