"""What is not counted of pods, Services and Namespaces is told to their owners."""

import pytest

from weft_operator.controllers.annotations import annotation_notices
from weft_operator.controllers.events import Recorder
from weft_operator.controllers.teller import Teller
from weft_testing.memory_api import MemoryApi
from weft_testing.objects import Doc, namespace, pod, service, view_of


def found(*bodies: Doc) -> dict[str, str]:
    return {f"{item.kind}/{item.metadata.name}": notice.note for item, notice in annotation_notices(view_of(*bodies))}


def test_an_annotation_that_is_not_carried_out_yet_is_named() -> None:
    for key in ("retry.weft.dev/http", "timeout.weft.dev/idle"):
        told = found(service("web", 80, annotations={key: "5"}))
        assert told == {"Service/web": f"metadata.annotations['{key}']: {key} has no effect yet in this release"}


def test_a_malformed_or_misspelt_one_is_named_with_its_remedy() -> None:
    annotations = {"timeout.weft.dev/request": "soon", "weft.dev/exprtTo": "."}
    note = found(service("web", 80, annotations=annotations))["Service/web"]
    assert "metadata.annotations['timeout.weft.dev/request']: 'soon'" in note
    assert "the annotation is not counted" in note
    assert "did you mean weft.dev/exportTo?" in note


def test_pods_and_namespaces_are_looked_at_too() -> None:
    wrong_namespace = namespace("shop", mesh="yes")
    wrong_pod = pod("web", "10.0.0.1", metadata={"annotations": {"weft.dev/excludeInboundPorts": "all"}})
    told = found(wrong_namespace, wrong_pod)
    assert told.keys() == {"Namespace/shop", "Pod/web"}
    assert "neither 'enabled' nor 'disabled'" in told["Namespace/shop"]
    assert found({**wrong_pod, "status": {"phase": "Succeeded"}}) == {}


def test_what_is_right_or_not_of_the_mesh_is_not_spoken_of() -> None:
    right = {"timeout.weft.dev/request": "5s", "retry.linkerd.io/http": "5xx", "example.com/weft.dev": "x"}
    twice = {"ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]}
    assert found(namespace("shop"), service("web", 80, annotations=right), pod("web", "10.0.0.1")) == {}
    assert found(service("web", annotations=right, spec=twice)) == {}, "the API server refuses that itself"


def test_a_note_fits_an_event() -> None:
    many = {f"weft.dev/{'x' * 40}{number}": "1" for number in range(30)}
    assert len(found(service("web", 80, annotations=many))["Service/web"]) == 1024


@pytest.mark.asyncio
async def test_each_is_told_once_and_again_when_it_says_something_else() -> None:
    api = MemoryApi()
    teller = Teller(Recorder(api, "replica-1"))

    async def tell(*bodies: Doc) -> int:
        return await teller.tell(annotation_notices(view_of(*bodies)))

    first, second = (service("web", 80, annotations={"timeout.weft.dev/request": value}) for value in ("soon", "late"))
    assert [await tell(first), await tell(first), await tell(second)] == [1, 0, 1]
    assert {event["regarding"]["kind"] for event in api.events} == {"Service"}
    assert {(event["type"], event["reason"]) for event in api.events} == {("Warning", "NotCounted")}
    assert await tell() == 0
    assert teller.told == {}
    assert await tell(namespace("shop", mesh="yes")) == 1
