"""Admission: what is taken, allotted, left unchanged and refused; a broken document never keeps the others out."""

from collections.abc import Iterator

import pytest
import yaml

from weft_lab.addressing import AddressPlan
from weft_lab.daemon.admission import Admission
from weft_lab.daemon.lab import Lab
from weft_lab.daemon.loop import Loop
from weft_lab.daemon.spawner import Spawner
from weft_lab.daemon.store import Store
from weft_lab.machine.records import LabRecord
from weft_lab.model import Key, Pod, Service
from weft_lab.plan.view import View
from weft_lab.protocol import Source
from weft_testing.lab import node


class Door:
    """A lab without a daemon: its store and its admission."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.store = Store(lambda: None)
        record = LabRecord("t", 1, ("node-1",), False, "")
        self.admission = Admission(Lab(record, AddressPlan(1), self.loop, self.store, Spawner("t")))
        self.admission.create_system_namespaces()
        self.store.create(Key("Node", "", "node-1"), node("node-1"))

    def apply(self, text: str) -> tuple[list[str], list[str]]:
        sources = [Source(source=f"t#{number}", body=body) for number, body in enumerate(yaml.safe_load_all(text), 1)]
        outcomes, problems = self.admission.apply(sources, "default")
        return [item.outcome for item in outcomes], [problem.text for problem in problems if not problem.warning]

    def service(self, name: str) -> Service:
        found = self.store.get(Key("Service", "default", name))
        assert isinstance(found, Service)
        return found


@pytest.fixture
def door() -> Iterator[Door]:
    made = Door()
    yield made
    made.loop.close()


def service(name: str, spec: str = "") -> str:
    return f"{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{ports: [{{port: 80}}], {spec}}}}}"


POD = "{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {x: '%s'}}, spec: {containers: [{name: m, command: [%s]}]}}"


def test_the_same_again_changes_nothing(door: Door) -> None:
    text = service("web") + "\n---\n" + POD % ("1", "sh")
    assert door.apply(text)[0] == ["created", "created"]
    revision = door.store.revision
    assert door.apply(text)[0] == ["unchanged", "unchanged"]
    assert door.store.revision == revision


def test_services_get_addresses_of_both_families_and_keep_them(door: Door) -> None:
    door.apply(service("web"))
    first = door.service("web").addresses
    assert [AddressPlan(1).services_v4, AddressPlan(1).services_v6]
    assert len(first) == 2
    door.apply(service("web", "selector: {app: web}"))
    assert door.service("web").addresses == first
    door.apply(service("other"))
    assert not set(first) & set(door.service("other").addresses)


@pytest.mark.parametrize(
    ("spec", "families"),
    [
        ("ipFamilyPolicy: SingleStack", ("IPv4",)), ("ipFamilies: [IPv6]", ("IPv6",)), ("", ("IPv4", "IPv6")),
        ("ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv6]", ("IPv6", "IPv4")),
    ],
)  # fmt: skip
def test_families_are_as_asked(door: Door, spec: str, families: tuple[str, ...]) -> None:
    door.apply(service("web", spec))
    found = door.service("web")
    assert found.spec.ip_families == families
    assert [":" in address for address in found.addresses] == [family == "IPv6" for family in families]


def test_a_wished_address_is_given_or_refused_with_the_networks_named(door: Door) -> None:
    assert door.apply(service("web", "clusterIP: 10.129.7.7"))[0] == ["created"]
    assert door.service("web").addresses[0] == "10.129.7.7"
    assert door.apply(service("web", "clusterIP: 10.129.7.7"))[0] == ["unchanged"]
    for name, wished in (("two", "10.129.7.7"), ("three", "10.96.0.10"), ("web", "10.129.7.8"), ("four", "nonsense")):
        outcomes, problems = door.apply(service(name, f"clusterIP: {wished}"))
        assert outcomes == ["refused"]
        assert "clusterIP" in problems[0]


def test_addresses_of_deleted_services_are_free_again(door: Door) -> None:
    door.apply(service("web", "clusterIP: 10.129.7.7"))
    door.store.delete(Key("Service", "default", "web"))
    door.admission.released(door.store.view())
    assert door.apply(service("two", "clusterIP: 10.129.7.7"))[0] == ["created"]


def test_a_pods_spec_is_immutable_and_its_labels_are_not(door: Door) -> None:
    door.apply(POD % ("1", "sh"))
    outcomes, problems = door.apply(POD % ("1", "bash"))
    assert outcomes == ["refused"]
    assert "delete it first" in problems[0]
    assert door.apply(POD % ("2", "sh"))[0] == ["configured"]
    found = door.store.get(Key("Pod", "default", "a"))
    assert isinstance(found, Pod)
    assert found.metadata.labels == {"x": "2"}
    assert found.spec.containers[0].command == ("sh",)


def test_a_scheduled_pod_applied_again_is_unchanged(door: Door) -> None:
    from msgspec.structs import replace

    door.apply(POD % ("1", "sh"))
    key = Key("Pod", "default", "a")
    found = door.store.get(key)
    assert isinstance(found, Pod)
    bound = replace(found, spec=replace(found.spec, node_name="node-1"))
    metadata = replace(bound.metadata, annotations={"weft.dev/netns": "n"})
    door.store.update(key, replace(bound, metadata=metadata))
    assert door.apply(POD % ("1", "sh"))[0] == ["unchanged"]
    assert View({key: door.store.get(key)}).get(key, Pod).metadata.annotations == {"weft.dev/netns": "n"}  # type: ignore[dict-item, union-attr]  # it is there


def test_namespaces_may_stand_behind_what_needs_them(door: Door) -> None:
    text = (
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop}}\n---\n"
        "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}"
    )
    assert door.apply(text) == (["created", "created"], [])
    assert door.store.get(Key("ServiceAccount", "shop", "default")) is not None


def test_a_namespace_that_is_not_there_is_told_with_its_remedy(door: Door) -> None:
    outcomes, problems = door.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: nowhere}}")
    assert outcomes == ["refused"]
    assert "nowhere" in problems[0]
    assert "Namespace" in problems[0]


def test_nodes_are_not_made_by_applying_but_labelled(door: Door) -> None:
    labelled = "{apiVersion: v1, kind: Node, metadata: {name: node-1, labels: {disk: ssd}}}"
    assert door.apply(labelled)[0] == ["configured"]
    found = door.store.get(Key("Node", "", "node-1"))
    assert found is not None
    assert found.metadata.labels == {"kubernetes.io/hostname": "node-1", "disk": "ssd"}
    outcomes, problems = door.apply("{apiVersion: v1, kind: Node, metadata: {name: big-one}}")
    assert outcomes == ["refused"]
    assert "node-1" in problems[0]


def test_one_broken_document_does_not_keep_the_others_out(door: Door) -> None:
    broken = "{apiVersion: v1, kind: Pod, metadata: {name: b}, spec: {containers: [{name: m, image: nginx}]}}"
    outcomes, problems = door.apply(broken + "\n---\n" + service("web"))
    assert sorted(outcomes) == ["created", "refused"]
    assert len(problems) == 1
