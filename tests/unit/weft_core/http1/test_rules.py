"""The closed set of rules: complete, documented, and each one reachable by bytes."""

from typing import get_args

import pytest

from weft_core.http1 import RULES, RuleName
from weft_core.http1.rules import refused
from weft_testing.http1_cases import REQUESTS, RESPONSES


def test_the_table_has_every_name() -> None:
    assert set(RULES) == set(get_args(RuleName))


def test_every_rule_is_broken_by_some_bytes() -> None:
    reached = {case.rule for case in (*REQUESTS, *RESPONSES)}
    assert reached - {None} == set(RULES)


def test_ids_are_unique() -> None:
    for cases in (REQUESTS, RESPONSES):
        assert len({case.id for case in cases}) == len(cases)


@pytest.mark.parametrize("name", sorted(RULES))
def test_a_rule_says_what_why_and_which_status(name: RuleName) -> None:
    error = refused(name)
    assert error.detail == name
    assert error.status == RULES[name].status
    assert 400 <= error.status <= 505
    assert RULES[name].message in str(error)
    assert RULES[name].source in str(error)
