"""The demonstration itself: every check passes, what it keeps can be used as it says, and no lab of somebody else is taken."""

import json
from pathlib import Path

import pytest

from weft_lab import lifecycle
from weft_testing.lab import run_weft, traces

pytestmark = pytest.mark.netns


def test_every_claim_is_measured_and_kept(name: str, tmp_path: Path) -> None:
    file = tmp_path / "checks.json"
    ran = run_weft("lab", "demo", "--keep", "--json", str(file), "--name", name, timeout_s=180)
    assert ran.status == 0, ran.out + ran.err
    checks = json.loads(file.read_text())["checks"]
    assert len(checks) == 22
    assert all(check["passed"] for check in checks)
    assert f"{len(checks)} of {len(checks)} as expected" in ran.out
    lines = ran.out.partition("Worth typing next:")[2].splitlines()
    typed = [line.split()[1:] for line in lines if line.startswith("  weft lab")]
    assert [words[1] for words in typed] == ["status", "exec", "node-exec", "down"]
    again = run_weft("lab", "demo", "--name", name)
    assert again.status == 1
    assert "is there already" in again.err
    for words in typed:
        assert run_weft(*words).status == 0, words
    assert traces(name) == []


def test_what_cannot_be_written_is_said_before_anything_is_made(name: str) -> None:
    ran = run_weft("lab", "demo", "--json", "/nonexistent/checks.json", "--name", name)
    assert (ran.status, "cannot write /nonexistent/checks.json" in ran.err) == (1, True)
    assert name not in lifecycle.labs()
