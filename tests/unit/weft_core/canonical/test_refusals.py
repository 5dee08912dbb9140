"""The closed set of reasons why a target or host is refused."""

from typing import get_args

import pytest

from weft_core.canonical import RULES, RuleName
from weft_core.canonical.refusals import refused


def test_the_table_has_every_name() -> None:
    assert set(RULES) == set(get_args(RuleName))


@pytest.mark.parametrize("name", sorted(RULES))
def test_a_rule_says_what_and_why(name: RuleName) -> None:
    error = refused(name)
    assert (error.detail, error.status) == (name, 400)
    assert RULES[name].message in str(error)
