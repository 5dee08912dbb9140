"""CEL rules say what the checks say: each rule has an object that the checks refuse with the same words at the same place."""

import pytest

from weft_contract.objects import Skipped, decode_object, problems
from weft_contract.problems import Problem
from weft_operator.compile import regex_error
from weft_operator.crds import OBJECT_RULES
from weft_testing.admission_cases import REFUSED, TAKEN, Refused
from weft_testing.objects import Doc


def found(item: Doc) -> list[Problem]:
    decoded = decode_object(item, "test")
    assert not isinstance(decoded, Skipped)
    return problems(decoded, regex_error)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_the_checks_refuse_it_with_the_same_words(case: Refused) -> None:
    texts = [
        "; ".join(part for part in (problem.message, problem.remedy) if part)
        for problem in found(case.item)
        if problem.path == case.path and not problem.warning
    ]
    assert case.words in texts


def test_every_rule_has_an_object_that_breaks_it() -> None:
    known = {rule.message for rules in OBJECT_RULES.values() for rule in rules}
    assert {case.rule or case.words for case in REFUSED} == known


@pytest.mark.parametrize("item", TAKEN, ids=lambda item: f"{item['kind']}-{item['metadata']['name']}")
def test_what_the_rules_must_take_has_no_error(item: Doc) -> None:
    assert [str(problem) for problem in found(item) if not problem.warning] == []


def test_a_rule_that_quotes_the_object_has_a_fixed_message_too() -> None:
    for rules in OBJECT_RULES.values():
        for rule in rules:
            assert rule.message
            document = rule.document()
            assert ("messageExpression" in document) == bool(rule.says)
