"""What opens the gate, and what does not."""

import pytest

from weft_contract.gate import (
    MAX_LINE_BYTES,
    is_ready,
    question_line,
    question_uid,
    ready_line,
    waiting_line,
    waiting_reason,
)

UID = "0f2d6b3e-6f4f-4c5e-9d3a-3f1a2b4c5d6e"


def test_the_answer_for_a_pod_opens_its_gate() -> None:
    assert ready_line(UID) == b"ready 0f2d6b3e-6f4f-4c5e-9d3a-3f1a2b4c5d6e\n"
    assert is_ready(ready_line(UID), UID)


@pytest.mark.parametrize("answer", [ready_line(UID)[:end] for end in range(len(ready_line(UID)))])
def test_a_part_of_it_does_not(answer: bytes) -> None:
    assert not is_ready(answer, UID)


def test_another_pod_s_answer_does_not() -> None:
    assert not is_ready(ready_line("other"), UID)
    assert not is_ready(ready_line(UID) + b"x", UID)
    assert not is_ready(b"ready \n", "")


def test_a_question_names_the_pod() -> None:
    assert question_line(UID) == b"gate 0f2d6b3e-6f4f-4c5e-9d3a-3f1a2b4c5d6e\n"
    assert question_uid(question_line(UID)) == UID


@pytest.mark.parametrize("line", [b"", b"gate", b"gate x", b"ready x\n", b"GET / HTTP/1.1\r\n", b"\xff\n"])
def test_what_is_no_question_names_none(line: bytes) -> None:
    assert question_uid(line) == ""


def test_a_reason_is_one_bounded_line_that_opens_nothing() -> None:
    line = waiting_line("no certificate\nfor spiffe://x \u2026 " + "y" * 2000)
    assert len(line) <= MAX_LINE_BYTES
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert waiting_reason(line).startswith("no certificate for spiffe://x ? yyy")
    assert not is_ready(line, UID)


@pytest.mark.parametrize("answer", [b"", b"waiting x", ready_line(UID), b"HTTP/1.1 400\r\n"])
def test_what_gives_no_reason_has_none(answer: bytes) -> None:
    assert waiting_reason(answer) == ""
