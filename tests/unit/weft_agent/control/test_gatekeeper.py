"""A pod is ready when everything is in place, and told the first thing that is not."""

from typing import cast

from weft_agent.capture.pod import CaptureState, Pod
from weft_agent.control.desired import Certificate, Desired
from weft_agent.control.fleet import Fleet
from weft_agent.control.gatekeeper import Gatekeeper
from weft_contract.resources import Workload

IDENTITY = "spiffe://cluster.local/ns/shop/sa/web"
WEB = Workload(namespace="shop", name="web", uid="u", service_account="web", identity=IDENTITY, addresses=("10.0.0.1",))


class FakeWorker:
    slot = 1

    def __init__(self, applied: int) -> None:
        self.applied_generation = applied


class FakeFleet:
    def __init__(self) -> None:
        self.desired = Desired(generation=4)
        self.workers = [FakeWorker(4)]


class Rig:
    def __init__(self) -> None:
        self.fleet = FakeFleet()
        self.pod = Pod(WEB, state="captured")
        self.keeper = Gatekeeper(cast("Fleet", self.fleet), {"u": self.pod}, lambda: 1000.0)
        self.keeper.configured([WEB])
        self.certify(2000.0)

    def certify(self, not_after_unix_s: float) -> None:
        self.fleet.desired.certificates[IDENTITY] = Certificate(IDENTITY, b"", 0.0, not_after_unix_s, "d", -1)

    @property
    def word(self) -> str:
        return self.keeper.waiting("u")


def test_a_pod_with_everything_in_place_is_ready() -> None:
    assert Rig().word == ""


def test_a_pod_that_nobody_knows_waits() -> None:
    assert "does not know this pod" in Rig().keeper.waiting("other")


def test_a_pod_that_is_not_captured_waits_and_hears_why() -> None:
    rig = Rig()
    states: list[CaptureState] = ["pending", "failed", "absent", "leaving"]
    for state in states:
        rig.pod.state, rig.pod.error = state, "the kernel refused"
        assert rig.word == f"its capture is {state}: the kernel refused"


def test_a_pod_waits_for_its_configuration() -> None:
    rig = Rig()
    rig.keeper.configured([])
    assert "no configuration" in rig.word


def test_a_pod_waits_for_its_certificate() -> None:
    rig = Rig()
    rig.certify(1000.0)
    assert "expired" in rig.word
    rig.fleet.desired.certificates.clear()
    assert f"no certificate of {IDENTITY}" in rig.word


def test_every_worker_must_know_the_pod_but_not_what_came_later() -> None:
    rig = Rig()
    rig.fleet.desired.generation = 9
    rig.keeper.configured([WEB])
    assert rig.word == "", "a busy configuration does not hold up a pod that everybody knows"
    rig.fleet.workers.append(FakeWorker(3))
    assert rig.word == "worker 1 has applied configuration 3 of 4"
    rig.fleet.workers.clear()
    assert "no worker" in rig.word
