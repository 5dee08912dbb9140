"""Running the demonstration: set the stage, run the checks, print the table, take the stage down or leave it standing."""

import os
import shutil
import sys
from pathlib import Path
from typing import Final, TextIO

import msgspec

from weft_lab import lifecycle
from weft_lab.demonstration.checks import Check, all_checks
from weft_lab.demonstration.stage import Stage, StageError

LAB: Final = "demo"
SCENE: Final = Path(__file__).with_name("scene.yaml")
_WIDTHS: Final = (58, 44)
_TOOLS: Final = ("curl", "tcpdump")

NEXT: Final = """
The mesh is still there. Worth typing next:
  {weft} lab status --name {lab}
  {weft} lab exec --name {lab} -n demo a -- curl -si http://b.demo/bar
  {weft} lab node-exec --name {lab} node-2 -- curl -s http://127.0.0.1:15020/metrics
and when you have seen enough:
  {weft} lab down --name {lab}
"""


def demonstrate(name: str = LAB, *, keep: bool, json_file: Path | None, out: TextIO = sys.stdout) -> bool:
    """Show the mesh.

    Args:
        name: of the lab to bring up for it.
        keep: leave it running.
        json_file: where to write the checks, too.
        out: where the table goes.

    Returns:
        Whether every check passed.

    Raises:
        StageError: the lab could not be brought up, or is there already; nothing was changed then.
        LabError: this machine cannot carry a lab.
    """
    _check(name, json_file)
    stage = Stage(name)
    try:
        out.write("two nodes, an agent on each, seven pods: coming up …\n")
        out.flush()
        stage.must("up", "--name", name, "-f", str(SCENE), "--wait", timeout_s=120)
        checks = _run(stage, out)
        if json_file is not None:
            json_file.write_bytes(msgspec.json.format(msgspec.json.encode({"checks": checks})) + b"\n")
        passed = all(check.passed for check in checks)
        out.write(f"\n{sum(check.passed for check in checks)} of {len(checks)} as expected\n")
    except BaseException:
        stage.weft("down", "--name", name)
        raise
    if keep:
        out.write(NEXT.format(weft=_typed(), lab=name))
    else:
        stage.must("down", "--name", name)
    return passed


def _check(name: str, json_file: Path | None) -> None:
    """See to everything that would otherwise be noticed half a minute later, or cost a lab that somebody kept."""
    lifecycle.check_machine()
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise StageError(f"the demonstration needs {' and '.join(missing)}; install the packages of these names")
    if name in lifecycle.labs():
        raise StageError(
            f"lab {name} is there already; look at it with `{_typed()} lab status --name {name}`, or take it away first: "
            f"{_typed()} lab down --name {name}"
        )
    if json_file is not None:
        try:
            json_file.touch()
        except OSError as exc:
            raise StageError(f"cannot write {json_file}: {exc.strerror}") from exc


def _typed() -> str:
    """Return how this program was called, so that what is printed can be typed here."""
    program = Path(sys.argv[0])
    if program.name != "weft":
        return "weft"
    return os.path.relpath(program) if program.is_absolute() and program.is_relative_to(Path.cwd()) else str(program)


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
