"""docs/lab.md, typed as it is written: the five minutes work, and end with nothing left."""

import re
import shlex

import pytest

from weft_testing.lab import REPOSITORY, run_weft, traces

pytestmark = pytest.mark.netns

PAGE = (REPOSITORY / "docs" / "lab.md").read_text()
SHOWN = {"http://api/anything": "HTTP 200", "http://api/": "HTTP 403"}
"""What the page says comes of it."""


def test_the_five_minutes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = re.findall(r"## Five minutes\n+```console\n(.*?)```", PAGE, re.DOTALL)
    lines = [line.removeprefix("# weft ") for line in block.splitlines()]
    assert len(lines) == 6
    monkeypatch.chdir(REPOSITORY)
    for line in lines:
        words = [str(REPOSITORY / word) if word.startswith("manifests/") else word for word in shlex.split(line)]
        ran = run_weft(*words, timeout_s=120, WEFT_LAB=name)
        assert ran.status == 0, f"weft {line}\n{ran.out}\n{ran.err}"
        for url, shown in SHOWN.items():
            if words[-1] == url:
                assert ran.out.startswith(shown), ran.out
    assert traces(name) == []
