"""The list of known attacks: every test that it names is there, and what is open says so."""

import ast
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from weft_testing.http1_cases import CVES, REQUESTS

ROOT = Path(__file__).resolve().parents[2]
ATTACKS: list[dict[str, Any]] = tomllib.loads((ROOT / "tests" / "conformance" / "attacks.toml").read_text())["attack"]
CASES = {case.id for case in REQUESTS}


@cache
def functions(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack["id"] for attack in ATTACKS])
def test_an_attack_has_its_tests(attack: dict[str, Any]) -> None:
    assert attack["what"]
    assert attack.get("tests") or attack.get("cases") or attack.get("open")
    assert set(attack.get("cases", ())) <= CASES
    for place in attack.get("tests", ()):
        path, _, name = place.partition("::")
        assert name in functions(path), place


def test_every_case_of_an_attack_is_listed() -> None:
    listed = {name for attack in ATTACKS for name in attack.get("cases", ())}
    assert {case.id for case in CVES if case.id.startswith("CVE-")} <= listed
