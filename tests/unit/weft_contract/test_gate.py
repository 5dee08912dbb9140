"""What opens the gate, and what does not."""

import pytest

from weft_contract.gate import is_ready, ready_line

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
