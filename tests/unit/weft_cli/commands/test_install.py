"""`weft install --dry-run`: what helm is asked for, and what is said where it, or the charts, are missing."""

import stat
from pathlib import Path

import pytest

from weft_testing.lab import run_weft

HELM = """#!/bin/sh
echo "# helm $*"
case "$*" in *broken*) echo "Error: no such value" >&2; exit 1;; esac
"""


@pytest.fixture
def helm(tmp_path: Path) -> Path:
    """A stand-in that prints how it was called."""
    path = tmp_path / "helm"
    path.write_text(HELM)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def charts(tmp_path: Path) -> Path:
    """Two charts as far as they are looked at."""
    for name in ("weft", "weft-crds"):
        (tmp_path / "charts" / name).mkdir(parents=True)
        (tmp_path / "charts" / name / "Chart.yaml").write_text(f"name: {name}\n")
    return tmp_path / "charts"


def test_both_charts_are_rendered_and_values_go_to_the_second(helm: Path, charts: Path) -> None:
    words = ("install", "--dry-run", "--charts", str(charts), "--set", "agent.workers=2", "--system-namespace", "mesh")
    ran = run_weft(*words, HELM=str(helm))
    assert ran.status == 0, ran.err
    first, second = ran.out.splitlines()
    assert first.startswith(f"# helm template weft-crds {charts}/weft-crds --namespace=mesh")
    assert second.startswith(f"# helm template weft {charts}/weft --namespace=mesh")
    assert ("--set=agent.workers=2" in first, "--set=agent.workers=2" in second) == (False, True)
    ran = run_weft(*words, "--skip-crds", HELM=str(helm))
    assert len(ran.out.splitlines()) == 1


def test_installing_itself_is_helms(helm: Path, charts: Path) -> None:
    ran = run_weft("install", "--charts", str(charts), "--set", "a=b", HELM=str(helm))
    assert ran.status == 2
    assert f"helm upgrade --install weft {charts}/weft --namespace weft-system --set=a=b" in ran.err


def test_what_is_missing_is_said_with_a_remedy(helm: Path, charts: Path, tmp_path: Path) -> None:
    ran = run_weft("install", "--dry-run", "--charts", str(tmp_path), HELM=str(helm))
    assert (ran.status, "give --charts DIR" in ran.err) == (2, True)
    ran = run_weft("install", "--dry-run", "--charts", str(charts), PATH="/nonexistent", HELM="")
    assert (ran.status, "install helm 3 or 4" in ran.err) == (3, True)
    ran = run_weft("install", "--dry-run", "--charts", str(charts), HELM="/nonexistent/helm")
    assert (ran.status, "could not be run" in ran.err) == (3, True)
    ran = run_weft("install", "--dry-run", "--charts", str(charts), "--set", "broken=1", HELM=str(helm))
    assert (ran.status, "no such value" in ran.err) == (1, True)
