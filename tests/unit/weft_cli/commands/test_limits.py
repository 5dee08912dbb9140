"""`weft limits`: the table of the contract, whole."""

import json

from weft_contract.limits import describe
from weft_testing.lab import run_weft


def test_every_limit_is_shown_with_unit_and_reason() -> None:
    ran = run_weft("limits")
    for item in describe():
        line = next(line for line in ran.out.splitlines() if line.split()[0] == item.name)
        assert item.unit in line
        assert item.reason in line


def test_words_choose_and_json_has_everything() -> None:
    found = json.loads(run_weft("limits", "tunnel", "-o", "json").out)
    assert found
    assert all("tunnel" in item["name"] and item["source"] for item in found)
    assert "SOURCE" in run_weft("limits", "-o", "wide").out.splitlines()[0]
