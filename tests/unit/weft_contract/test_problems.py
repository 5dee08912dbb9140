"""The line users see."""

import pytest

from weft_contract.problems import ContractError, Problem


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (Problem(path="$.a", message="is wrong"), "$.a: is wrong"),
        (Problem(path="$.a", message="is wrong", remedy="write b"), "$.a: is wrong; write b"),
        (Problem(path="$", message="m", source="web.yaml#2"), "web.yaml#2: $: m"),
        (Problem(path="$", message="m", subject="Mesh default"), "Mesh default: $: m"),
        (
            Problem(path="$.spec", message="m", remedy="r", source="web.yaml#2", subject="Service shop/web"),
            "web.yaml#2 Service shop/web: $.spec: m; r",
        ),
    ],
)
def test_a_problem_is_one_line(problem: Problem, line: str) -> None:
    assert str(problem) == line


def test_an_error_carries_all_problems() -> None:
    error = ContractError(Problem(path=f"$.{name}", message="m") for name in "ab")
    assert [problem.path for problem in error.problems] == ["$.a", "$.b"]
    assert str(error) == "$.a: m\n$.b: m"
