"""Names: what a lab makes carries its name in a form that no other lab's can be mistaken for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_lab import names

lab_names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", fullmatch=True)
object_names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)


@given(lab_names, lab_names, object_names, st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?", fullmatch=True))
def test_namespaces_of_one_lab_never_begin_as_anothers(lab: str, other: str, namespace: str, pod: str) -> None:
    made = [names.fabric_namespace(lab), names.node_namespace(lab, "node-1"), names.pod_namespace(lab, namespace, pod)]
    for name in made:
        assert name.startswith(names.namespace_prefix(lab))
        assert name.startswith(names.namespace_prefix(other)) == (lab == other)
        assert len(name) <= 128


def test_long_pod_names_that_differ_at_the_end_stay_apart() -> None:
    first = names.pod_namespace("x", "shop", "a" * 150 + "1")
    second = names.pod_namespace("x", "shop", "a" * 150 + "2")
    assert first != second
    assert len(first) == len(second) == 128


@given(st.uuids())
def test_a_link_has_a_name_the_kernel_takes(uid: object) -> None:
    assert len(names.pod_link(str(uid))) <= 15


@given(lab_names)
def test_good_lab_names_pass(name: str) -> None:
    assert names.check_lab_name(name) == name


@pytest.mark.parametrize("name", ["", "A", "a.b", "-a", "a-", "a/b", "..", "a" * 33, "ä", "a\n"])
def test_bad_lab_names_are_refused(name: str) -> None:
    with pytest.raises(names.LabNameError):
        names.check_lab_name(name)


def test_nodes_are_numbered_from_one() -> None:
    assert names.node_names(3) == ("node-1", "node-2", "node-3")
