"""Starting processes: isolated, with exactly the descriptors they are given, at the numbers they expect."""

import os
import sys
from pathlib import Path

import pytest

from weft_agent.keeper.launch import command, package_paths, spawn


def run(code: str, descriptors: tuple[int, ...], environment: dict[str, str] | None = None) -> int:
    pid = spawn([sys.executable, "-I", "-c", code], environment or {}, descriptors, own_group=False)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_descriptors_arrive_at_their_numbers_and_no_other_does() -> None:
    read_end, write_end = os.pipe()
    extra = os.open("/dev/null", os.O_RDONLY)
    code = "import os; os.write(3, ' '.join(sorted(os.listdir('/proc/self/fd'))).encode())"
    assert run(code, (0, 1, 2, write_end)) == 0
    os.close(write_end)
    found = set(os.read(read_end, 1000).decode().split())
    os.close(read_end)
    os.close(extra)
    assert {"0", "1", "2", "3"} <= found
    assert not {str(extra), str(read_end), str(write_end)} & (found - {"0", "1", "2", "3", "4"})


def test_descriptors_that_would_overwrite_each_other_are_a_bug() -> None:
    with pytest.raises(ValueError, match="overwritten"):
        spawn([sys.executable], {}, (2, 1, 0), own_group=False)


def test_the_environment_is_what_is_given_and_nothing_else() -> None:
    code = "import os, sys; sys.exit(0 if dict(os.environ).items() <= {'A': 'b', 'LC_CTYPE': 'C.UTF-8'}.items() else 1)"
    assert run(code, (0, 1, 2), {"A": "b"}) == 0


def test_signals_are_back_to_normal() -> None:
    code = """
import signal, sys
normal = {signal.SIG_DFL, signal.default_int_handler, signal.SIG_IGN}
blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
term = signal.getsignal(signal.SIGTERM)
sys.exit(0 if not blocked and term is signal.SIG_DFL else 1)
"""
    import signal

    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        assert run(code, (0, 1, 2)) == 0
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_own_group_keeps_the_terminals_signals_away() -> None:
    code = "import os, sys; sys.exit(0 if os.getpgrp() == os.getpid() else 1)"
    pid = spawn([sys.executable, "-I", "-c", code], {}, (0, 1, 2), own_group=True)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_program_that_is_not_there_is_an_error() -> None:
    with pytest.raises(OSError, match="No such file"):
        spawn(["/nowhere/python"], {}, (0, 1, 2), own_group=False)


def test_the_folders_of_packages_are_found() -> None:
    paths = package_paths(["weft_agent", "weft_core", "weft_iptables"]).split(":")
    assert [Path(path).name for path in paths] == ["agent", "iptables"]
    with pytest.raises(ModuleNotFoundError):
        package_paths(["weft_nothing"])


def test_a_module_is_run_with_its_arguments() -> None:
    here = str(Path(__file__).parent)
    argv = command(here, "not_there", ["a"])
    assert argv[-4:] == [argv[-4], here, "not_there", "a"]
    assert argv[:2] == [sys.executable, "-I"]
