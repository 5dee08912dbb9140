"""Programmed: how many nodes, which ones not, and never True for what was not accepted."""

import pytest

from weft_operator.compile import Verdict
from weft_operator.conditions import Progress, programmed

ACCEPTED = Verdict(holds=True, reason="Accepted")
INVALID = Verdict(holds=False, reason="Invalid", message="$.spec: no")


@pytest.mark.parametrize(
    ("progress", "text", "status", "reason", "message"),
    [
        (Progress(needed=3), "3/3", "True", "Programmed", "in force at 3 of 3 nodes"),
        (Progress(needed=0), "0/0", "True", "NoPods", "no pod in the mesh needs it, so that no node does"),
        (
            Progress(needed=3, lagging=["n2"]), "2/3", "False", "Pending",
            "in force at 2 of 3 nodes; waiting for n2",
        ),
        (
            Progress(needed=9, lagging=["n9", "n1", "n2", "n3", "n4", "n5", "n6"]), "2/9", "False", "Pending",
            "in force at 2 of 9 nodes; waiting for n1, n2, n3, n4, n5 and 2 more",
        ),
        (
            Progress(needed=3, lagging=["n3", "n2"], refused={"n2": "too big"}), "1/3", "False", "Refused",
            "in force at 1 of 3 nodes; refused by n2; n2 says: too big",
        ),
    ],
)  # fmt: skip
def test_what_it_says(progress: Progress, text: str, status: str, reason: str, message: str) -> None:
    wanted = programmed(ACCEPTED, progress)
    assert progress.text == text
    assert (wanted.type, wanted.status, wanted.reason, wanted.message) == ("Programmed", status, reason, message)


def test_what_is_not_accepted_is_never_programmed() -> None:
    wanted = programmed(INVALID, Progress(needed=2))
    assert (wanted.status, wanted.reason) == ("False", "Invalid")
    assert wanted.message == "not accepted; what it refuses until then is in force at 2 of 2 nodes"
    assert programmed(INVALID, Progress(needed=0)).message == "not accepted"


def test_the_order_in_which_nodes_are_named_is_always_the_same() -> None:
    assert programmed(ACCEPTED, Progress(needed=3, lagging=["b", "a"])) == programmed(
        ACCEPTED, Progress(needed=3, lagging=["a", "b"])
    )
