"""The strictness table row by row: every row has its cases, each with the verdict that the row demands, in both directions."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from weft_core.http1 import RULES
from weft_testing.http1_cases import REQUESTS, RESPONSES, ROWS, RequestCase, ResponseCase
from weft_testing.http1_reader import read

TABLE: list[dict[str, Any]] = tomllib.loads((Path(__file__).parent / "strictness.toml").read_text())["row"]
BY_ID: dict[str, RequestCase] = {case.id: case for case in REQUESTS}
ANSWERS: dict[str, ResponseCase] = {case.id: case for case in RESPONSES}
requests = [(row, name) for row in TABLE for name in row["requests"]]
responses = [(row, name) for row in TABLE for name in row.get("responses", ())]


def verdict(rule: str | None) -> int | str:
    return "pass" if rule is None else RULES[rule].status  # type: ignore[index]  # the reader's rules are names


@pytest.mark.parametrize(("row", "name"), requests, ids=[name for _, name in requests])
def test_a_request_gets_the_verdict_of_its_row(row: dict[str, Any], name: str) -> None:
    found = verdict(read([BY_ID[name].data]).rule)
    assert found == verdict(BY_ID[name].rule)
    assert found in row["verdict"]


@pytest.mark.parametrize(("row", "name"), responses, ids=[name for _, name in responses])
def test_an_answer_is_as_strictly_read_as_a_request(row: dict[str, Any], name: str) -> None:
    case = ANSWERS[name]
    found = verdict(read([case.data], case.method).rule)
    assert found == verdict(case.rule)
    assert found in row["verdict"]


@pytest.mark.parametrize("row", TABLE, ids=[row["says"] for row in TABLE])
def test_a_row_without_answers_says_why(row: dict[str, Any]) -> None:
    assert bool(row.get("responses")) != bool(row.get("only_requests"))


def test_every_case_of_the_table_stands_in_one_row() -> None:
    named = sorted(name for row in TABLE for name in row["requests"])
    assert named == sorted(case.id for case in ROWS)
