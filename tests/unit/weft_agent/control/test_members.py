"""Who is captured over time: each new outcome told once, a passed gate remembered, an operator's word obeyed."""

from pathlib import Path

import pytest

from weft_agent.control.config_files import parse
from weft_agent.control.config_source import Config
from weft_agent.control.members import Membership
from weft_agent.control.roster import Members
from weft_agent.control.settings import parse_settings
from weft_agent.telemetry.log import Log
from weft_agent.telemetry.metrics import Metrics
from weft_contract.codec import document, encode
from weft_contract.objects import Pod
from weft_contract.objects.metadata import Metadata
from weft_contract.objects.pod import Container, PodAddress, PodCondition, PodSpec, PodStatus
from weft_contract.resources import Node, Workload

IDENTITY = "spiffe://cluster.local/ns/shop/sa/default"
NODE = Node(name="n1", trust_domain="cluster.local")


def workload(name: str) -> Workload:
    return Workload(
        namespace="shop", name=name, uid=f"uid-{name}", service_account="default", identity=IDENTITY,
        addresses=(f"10.0.0.{len(name)}",),
    )  # fmt: skip


def config(*names: str) -> Config:
    return parse(encode(document("n1", [NODE, *map(workload, names)])), "n1.json", "n1", "file")


def pod(name: str, *, through: bool = False) -> Pod:
    address = f"10.0.0.{len(name)}"
    conditions = (PodCondition(type="Initialized", status="True"),) if through else ()
    return Pod(
        metadata=Metadata(namespace="shop", name=name, uid=f"uid-{name}"),
        spec=PodSpec(node_name="n1", init_containers=(Container(name="weft-gate"),)),
        status=PodStatus(phase="Running", pod_ip=address, pod_ips=(PodAddress(ip=address),), conditions=conditions),
    )


class Rig:
    def __init__(self, directory: Path, held: tuple[str, ...] = (), *, watches: bool = True) -> None:
        raw = {"node": "n1", "config": str(directory), "identity": str(directory)}
        if watches:
            raw["kubernetes"] = "https://api.example"
        self.outcomes: list[Members] = []
        self.lines: list[bytes] = []
        log = Log(self.lines.append, "json", "debug")
        self.membership = Membership(parse_settings(raw, 1), held, self.outcomes.append, log, Metrics())

    def show(self, *pods: Pod) -> None:
        watch = self.membership._watch
        assert watch is not None
        watch.pods.replace(pods)
        watch._changed()

    @property
    def names(self) -> list[str]:
        last = self.outcomes[-1]
        return sorted(item.name for item in (*last.told, *last.untold))


def test_without_a_watch_every_configuration_is_told_as_it_is(tmp_path: Path) -> None:
    rig = Rig(tmp_path, watches=False)
    for _ in range(2):
        rig.membership.configured(config("a"))
    assert [item.told for item in rig.outcomes] == [(workload("a"),)] * 2, "each has to be acknowledged"


def test_what_changes_nothing_is_not_told(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.show(pod("a"))
    assert not rig.outcomes, "nothing can be decided without a configuration"
    rig.membership.configured(config("a"))
    rig.show(pod("a"))
    assert len(rig.outcomes) == 1


def test_a_pod_stays_in_when_it_has_passed_its_gate_with_the_operator_away(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.membership.configured(config("a"))
    rig.show(pod("a", through=True), pod("bb"))
    assert rig.names == ["a", "bb"]
    rig.show(pod("a", through=True), pod("bb", through=True))
    assert rig.names == ["a", "bb"]
    rig.membership.configured(config("a"))
    assert rig.names == ["a", "bb"], "this configuration never knew it"


def test_a_pod_that_the_operator_drops_is_out(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.membership.configured(config("a"))
    rig.show(pod("a", through=True))
    rig.membership.configured(config())
    assert rig.names == []
    rig.show(pod("a", through=True))
    assert rig.names == []


@pytest.mark.parametrize(("held", "expected"), [(("uid-bb",), ["bb"]), ((), [])])
def test_a_next_control_goes_by_what_the_last_one_held(
    tmp_path: Path, held: tuple[str, ...], expected: list[str]
) -> None:
    rig = Rig(tmp_path, held)
    rig.membership.configured(config())
    rig.show(pod("bb", through=True))
    assert rig.names == expected
