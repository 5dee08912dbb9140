"""Running the demonstration: set the stage, run the checks, print the table, take the stage down or leave it standing."""

import sys
from pathlib import Path
from typing import Final, TextIO

import msgspec

from weft_lab.demonstration.checks import Check, all_checks
from weft_lab.demonstration.stage import Stage, StageError

LAB: Final = "demo"
SCENE: Final = Path(__file__).with_name("scene.yaml")
_WIDTHS: Final = (58, 44)

NEXT: Final = f"""
The mesh is still there. Worth typing next (weft is .venv/bin/weft in the checkout):
  weft lab status --name {LAB}
  weft lab exec --name {LAB} -n demo a -- curl -i http://b.demo/bar
  weft lab node-exec --name {LAB} node-2 -- curl -s http://127.0.0.1:15020/metrics
and when you have seen enough:
  weft lab down --name {LAB}
"""


def demonstrate(*, keep: bool, json_file: Path | None, out: TextIO = sys.stdout) -> bool:
    """Show the mesh.

    Args:
        keep: leave it running.
        json_file: where to write the checks, too.
        out: where the table goes.

    Returns:
        Whether every check passed.

    Raises:
        StageError: the lab could not be brought up.
    """
    stage = Stage(LAB)
    try:
        out.write("two nodes, an agent on each, eight pods: coming up …\n")
        stage.must("up", "--name", LAB, "-f", str(SCENE), "--wait", timeout_s=120)
        checks = _run(stage, out)
        if json_file is not None:
            json_file.write_bytes(msgspec.json.format(msgspec.json.encode({"checks": checks})) + b"\n")
        passed = all(check.passed for check in checks)
        out.write(f"\n{sum(check.passed for check in checks)} of {len(checks)} as expected\n")
    except BaseException:
        stage.weft("down", "--name", LAB)
        raise
    if keep:
        out.write(NEXT)
    else:
        stage.must("down", "--name", LAB)
    return passed


def _run(stage: Stage, out: TextIO) -> list[Check]:
    checks: list[Check] = []
    name_width, expected_width = _WIDTHS
    out.write(f"\n     {'what':{name_width}} {'expected':{expected_width}} measured\n")
    for check in all_checks(stage):
        checks.append(check)
        mark = "ok  " if check.passed else "FAIL"
        out.write(f"{mark} {check.name:{name_width}} {check.expected:{expected_width}} {check.measured}\n")
        out.flush()
    return checks


__all__ = ["StageError", "demonstrate"]
