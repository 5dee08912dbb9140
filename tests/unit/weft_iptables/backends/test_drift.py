"""Comparing what is with what should be."""

from weft_iptables.backends.drift import Drift, State, compare

EXPECTED: State = {("table", "weft"): (b"",), ("chain", "WEFT_PRE"): (b"a", b"b"), ("elements", "in_ports"): (b"1",)}
LINES = {"WEFT_PRE": ["rule a", "rule b"]}


def changed(**values: tuple[bytes, ...] | None) -> State:
    keys = {"table": ("table", "weft"), "chain": ("chain", "WEFT_PRE"), "elements": ("elements", "in_ports")}
    state = dict(EXPECTED)
    for name, value in values.items():
        key = next(item for item in EXPECTED if item == keys[name])
        if value is None:
            del state[key]
        else:
            state[key] = value
    return state


def test_equal_states_have_no_drift() -> None:
    assert compare(EXPECTED, dict(EXPECTED), LINES) == []
    assert compare({}, {}, {}) == []


def test_an_empty_namespace_is_one_drift() -> None:
    assert compare(EXPECTED, {}, LINES) == [Drift("table", "weft", "nothing of the capture is here")]


def test_what_is_missing_changed_or_too_much_is_named() -> None:
    assert compare(EXPECTED, changed(elements=None), LINES) == [Drift("elements", "in_ports", "missing")]
    assert compare(EXPECTED, changed(table=(b"x",)), LINES) == [Drift("table", "weft", "changed")]
    extra = {**EXPECTED, ("set", "extra"): (b"",)}
    assert compare(EXPECTED, extra, LINES) == [Drift("set", "extra", "not ours to have")]


def test_a_chain_names_its_first_wrong_rule() -> None:
    for live, count, at, text in (
        ((b"a", b"x"), 2, 2, "rule b"),
        ((b"x", b"a", b"b"), 3, 1, "rule a"),
        ((b"a",), 1, 2, "rule b"),
        ((), 0, 1, "rule a"),
        ((b"a", b"b", b"c"), 3, 3, "nothing more"),
    ):
        (drift,) = compare(EXPECTED, changed(chain=live), LINES)
        detail = f"{count} rules instead of 2, the first difference at rule {at}, which should be: {text}"
        assert str(drift) == f"chain WEFT_PRE: {detail}"
