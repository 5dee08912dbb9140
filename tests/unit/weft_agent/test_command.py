"""The `weft-agent` command line: what reaches the keeper, and mistakes that are told all at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from weft_agent.__main__ import collect, keeper_command, main
from weft_agent.control.settings import parse_settings

NEEDED = {"node": "n1", "config": "/c", "identity": "/i"}


def test_flags_win_over_the_environment() -> None:
    flags = {"node": "flag", "config": None, "remove_capture_on_exit": None}
    environment = {"WEFT_NODE": "env", "WEFT_CONFIG": "/env", "WEFT_REMOVE_CAPTURE_ON_EXIT": "true", "OTHER": "x"}
    assert collect(flags, environment) == {"node": "flag", "config": "/env", "remove-capture-on-exit": "true"}
    assert collect({"remove_capture_on_exit": True}, {}) == {"remove-capture-on-exit": "true"}


def test_what_control_is_given_parses_to_the_same_settings() -> None:
    raw = NEEDED | {
        "state": "/s", "workers": "3", "backend": "nft", "health-address": "[::1]:1", "metrics-address": "0.0.0.0:2",
        "log-format": "text", "log-level": "debug", "remove-capture-on-exit": "true", "limit": "drain_timeout_s=1.5",
    }  # fmt: skip
    settings = parse_settings(raw, 8)
    command = keeper_command(settings, "weft_agent.control.__main__")
    arguments = command[command.index("weft_agent.control.__main__") + 1 :]
    again = dict(zip((name.removeprefix("--") for name in arguments[::2]), arguments[1::2], strict=True))
    assert parse_settings(again, 1) == settings


def test_control_is_given_the_operator_as_it_was_given() -> None:
    raw = {
        "node": "n1", "operator": "https://[fd00::1]:443", "operator-roots": "/r", "token": "/t", "snapshot": "/d",
        "state": "/s",
    }  # fmt: skip
    settings = parse_settings(raw, 8)
    command = keeper_command(settings, "weft_agent.control.__main__")
    arguments = command[command.index("weft_agent.control.__main__") + 1 :]
    again = dict(zip((name.removeprefix("--") for name in arguments[::2]), arguments[1::2], strict=True))
    assert "config" not in again
    assert parse_settings(again, 1) == settings
    assert collect({}, {"WEFT_OPERATOR": "https://x", "WEFT_OPERATOR_ROOTS": "/r"}) == {
        "operator": "https://x",
        "operator-roots": "/r",
    }


def test_the_keeper_runs_isolated_and_without_installed_packages() -> None:
    command = keeper_command(parse_settings(NEEDED, 1), "weft_agent.control.__main__")
    assert command[:3] == [sys.executable, "-I", "-S"]
    assert Path(command[3]).name == "start.py"
    assert all(Path(path).is_dir() for path in command[4].split(":"))


def test_every_mistake_is_told_and_nothing_starts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--workers", "zero", "--backend", "ebpf"], environment={}) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 5
    assert [line.split()[2] for line in told] == ["--node", "--config", "--identity", "--workers", "--backend"]


@pytest.mark.parametrize("argv", [[], ["frobnicate"], ["run", "--nope"], ["check"]])
def test_a_command_that_does_not_exist_is_a_usage_error(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv, environment={})
    assert caught.value.code == 2


def test_version_prints_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"], environment={}) == 0
    assert capsys.readouterr().out.startswith("weft-agent ")


def test_no_agent_to_ask_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--state", str(tmp_path)], environment={}) == 2
    assert "no agent answers" in capsys.readouterr().err


def test_help_starts_without_the_weight_of_the_agent() -> None:
    code = "import sys, weft_agent.__main__; print(' '.join(sorted(sys.modules)))"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    ).stdout
    assert not {"trio", "ssl", "pyroute2", "prometheus_client", "msgspec"} & set(out.split())


def test_the_gate_is_told_what_it_lacks(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["gate"], environment={}) == 78
    assert "WEFT_POD_UID" in capfd.readouterr().err


def test_the_gate_starts_from_the_standard_library_alone() -> None:
    """It runs in front of every pod: what it imports is what every pod's start waits for."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from weft_agent.__main__ import main\n"
        "status = main(['gate'], {})\n"
        "print(status, *sorted(name for name in sys.modules if name.startswith('weft') or name in ('argparse', 'msgspec')))"
    )
    agent = Path(__file__).resolve().parents[3] / "agent"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(agent)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [
        "78", "weft_agent", "weft_agent.__main__", "weft_agent.gate", "weft_agent.gate.wait", "weft_contract",
        "weft_contract.gate", "weft_contract.ports",
    ]  # fmt: skip
