"""The `weft` command as a process: speed of its help, exit statuses, colour only where it is wanted."""

import ast
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from weft_cli.__main__ import weft
from weft_cli.lab.group import lab
from weft_cli.lazy import LazyGroup
from weft_testing.lab import REPOSITORY, python_path, run_weft

HELP_S = 0.15


def test_help_is_fast() -> None:
    """Counted in CPU time, which on a machine of its own is the time that passes; the best of some runs counts."""
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run_weft("--help").status == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < HELP_S


def test_help_imports_no_subcommand() -> None:
    code = (
        "import sys; from weft_cli.__main__ import weft; weft(['--help'], standalone_mode=False); print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": python_path()},
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not {"yaml", "msgspec", "cryptography", "weft_lab", "weft_operator", "weft_cli.lab.group"} & loaded


@pytest.mark.parametrize("group", [weft, lab], ids=["weft", "lab"])
def test_every_named_command_is_there(group: LazyGroup) -> None:
    import click

    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        assert command.help
        assert name in command.name if command.name else False
    assert group.get_command(context, "nosuch") is None


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("version",), 0), (("limits",), 0), (("nosuch",), 2), (("compile",), 2), (("limits", "--nosuch"), 2),
        (("lab", "get", "pods", "--name", "surely-not-up"), 3), (("lab", "get", "gizmos", "--name", "surely-not-up"), 2),
        (("lab", "status", "--name", "No Lab"), 2), (("check", "-f", "/nonexistent.yaml"), 2),
    ],
)  # fmt: skip
def test_statuses(words: tuple[str, ...], status: int) -> None:
    ran = run_weft(*words)
    assert ran.status == status, ran.err
    assert (ran.err != "") == (status != 0)
    assert "Traceback" not in ran.err


def test_no_colour_without_a_terminal() -> None:
    ran = run_weft("lab", "status", "--name", "surely-not-up")
    assert "\x1b" not in ran.err + ran.out
    assert ran.err.startswith("error: lab surely-not-up is not up; ")


def test_output_that_nobody_reads_is_no_error_message() -> None:
    command = [sys.executable, "-P", "-m", "weft_cli", "limits", "-o", "json"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={"PYTHONPATH": python_path()}
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=20)
    assert b"Traceback" not in err


def test_the_command_knows_no_asyncio_and_no_trio() -> None:
    for path in (REPOSITORY / "operator").glob("weft_[cl]*/**/*.py"):
        names = {
            alias.name.partition(".")[0]
            for node in ast.walk(ast.parse(Path(path).read_text()))
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert not {"asyncio", "trio", "kopf"} & names, path
