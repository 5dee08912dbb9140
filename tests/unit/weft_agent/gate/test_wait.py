"""The gate's asking side against real sockets: what opens it, what never does, and what it tells people meanwhile."""

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from weft_agent.gate import wait
from weft_agent.gate.wait import EXIT_CONFIG, EXIT_TERMINATED, Gate
from weft_contract.gate import POD_UID_VARIABLE, question_line, ready_line, waiting_line

ROOT = Path(__file__).resolve().parents[4]
UID = "0f2d6b3e-6f4f-4c5e-9d3a-3f1a2b4c5d6e"
PATIENCE_S = 20.0
Serve = Callable[[socket.socket, int], None]
"""Handles one connection; the number counts them from 0."""


@contextmanager
def answering(serve: Serve, family: socket.AddressFamily = socket.AF_INET) -> Iterator[int]:
    """Listen on loopback, hand each connection to `serve`, and yield the port; failures of `serve` are the test's."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
    listener.listen(64)
    kept: list[socket.socket] = []

    def run() -> None:
        for number in range(10_000):
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            kept.append(connection)
            try:
                serve(connection, number)
            except (ConnectionError, OSError):
                continue  # the gate may have closed an attempt because another was faster

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(PATIENCE_S)
        for connection in kept:
            connection.close()


def gate_at(*ports: int, tell: Callable[[str], None] | None = None) -> Gate:
    return Gate(UID, [(socket.AF_INET, "127.0.0.1")], ports[0], tell or (lambda line: None))


def run_bounded(gate: Gate) -> float:
    """Wait in a thread, so that a gate that never opens fails the test instead of hanging it."""
    took: list[float] = []
    thread = threading.Thread(target=lambda: took.append(gate.wait()), daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert took, "the gate did not open"
    gate.close()
    return took[0]


def say(*pieces: bytes) -> Serve:
    def serve(connection: socket.socket, number: int) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert connection.recv(512) == question_line(UID)
        for piece in pieces:
            connection.sendall(piece)
        connection.close()

    return serve


def after(count: int, first: Serve, then: Serve) -> Serve:
    def serve(connection: socket.socket, number: int) -> None:
        (first if number < count else then)(connection, number)

    return serve


LINE = ready_line(UID)


@pytest.mark.parametrize("pieces", [(LINE,), tuple(bytes([byte]) for byte in LINE)], ids=["whole", "byte by byte"])
def test_the_right_answer_opens(pieces: Sequence[bytes]) -> None:
    with answering(say(*pieces)) as port:
        assert run_bounded(gate_at(port)) < PATIENCE_S


@pytest.mark.parametrize("cut", range(1, len(LINE)))
def test_an_answer_in_two_pieces_opens(cut: int) -> None:
    with answering(say(LINE[:cut], LINE[cut:])) as port:
        run_bounded(gate_at(port))


WRONG = {
    "nothing": b"",
    "another pod's": ready_line("11111111-2222-3333-4444-555555555555"),
    "not finished": LINE[:-1],
    "more than it": LINE + b"x",
    "two lines": LINE + LINE,
    "of a web server": b"HTTP/1.1 200 OK\r\n\r\n",
    "not yet": waiting_line("no certificate"),
    "endless": b"r" * 4096,
    "no text": b"\xff\x00\n",
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=list(WRONG))
def test_any_other_answer_does_not_open_and_the_gate_asks_again(wrong: bytes) -> None:
    asked: list[int] = []

    def note(connection: socket.socket, number: int) -> None:
        asked.append(number)
        say(wrong)(connection, number)

    with answering(after(2, note, say(LINE))) as port:
        run_bounded(gate_at(port))
    assert asked == [0, 1]


def test_a_silent_and_a_resetting_server_hold_nobody_up() -> None:
    def silent(connection: socket.socket, number: int) -> None:
        return

    def resetting(connection: socket.socket, number: int) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        connection.close()

    with answering(after(2, silent, after(4, resetting, say(LINE)))) as port:
        took_s = run_bounded(gate_at(port))
    assert took_s < wait.ATTEMPT_S, "an attempt without an answer does not delay the next"


def test_a_listener_that_comes_late_is_found() -> None:
    place = socket.socket()
    place.bind(("127.0.0.1", 0))
    port = int(place.getsockname()[1])
    refused = threading.Event()
    gate = gate_at(port)
    begin = gate._begin

    def begun(now: float) -> None:
        begin(now)
        if "refused" in gate._seen:
            refused.set()

    gate._begin = begun  # type: ignore[method-assign]  # the test wants to know when an attempt has failed
    result: list[float] = []
    thread = threading.Thread(target=lambda: result.append(gate.wait()), daemon=True)
    thread.start()
    assert refused.wait(PATIENCE_S)
    place.listen(8)
    connection, _ = place.accept()
    say(LINE)(connection, 0)
    thread.join(PATIENCE_S)
    place.close()
    assert result


def test_either_family_is_enough() -> None:
    with answering(say(LINE), socket.AF_INET6) as port:
        run_bounded(Gate(UID, [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], port))


def test_attempts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "FIRST_INTERVAL_S", 0.001)
    most: list[int] = [0]
    gate: Gate

    def slow(connection: socket.socket, number: int) -> None:
        most[0] = max(most[0], len(gate._attempts))

    with answering(after(200, slow, say(LINE))) as port:
        gate = gate_at(port)
        run_bounded(gate)
    assert 2 < most[0] <= wait.ATTEMPTS
    assert not gate._attempts


def told(monkeypatch: pytest.MonkeyPatch, serve: Serve, until: Callable[[str], bool]) -> str:
    """Return the first line told that `until` likes, with the seconds between lines shortened."""
    monkeypatch.setattr(wait, "TELL_S", 0.05)
    found: list[str] = []
    enough = threading.Event()

    def tell(line: str) -> None:
        found.append(line)
        if until(line):
            enough.set()

    with answering(
        lambda connection, number: say(LINE)(connection, number) if enough.is_set() else serve(connection, number)
    ) as port:
        run_bounded(gate_at(port, tell=tell))
    return next(line for line in found if until(line))


def test_silence_is_explained_with_what_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    line = told(monkeypatch, lambda connection, number: None, lambda line: "nobody answers" in line)
    assert UID in line
    assert "127.0.0.1:" in line
    assert "weft.dev/mesh: disabled" in line
    assert "kubectl get pods" in line


def test_the_agent_s_reason_is_told_and_cannot_disturb_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = b"waiting no certificate\x1b[2J yet\n"
    line = told(monkeypatch, say(answer), lambda line: "the agent says" in line)
    assert line.endswith("the agent says: no certificate?[2J yet")


def test_a_stranger_is_named_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    line = told(monkeypatch, say(b"SSH-2.0-x\r\n"), lambda line: "not this pod's agent" in line)
    assert "SSH-2.0-x" in line


def test_an_agent_that_has_gone_is_not_quoted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    def once(connection: socket.socket, number: int) -> None:
        if not answered.is_set():
            say(waiting_line("no certificate"))(connection, number)
            answered.set()

    assert told(monkeypatch, once, lambda line: answered.is_set() and "nobody answers" in line)


# -- as a process ---------------------------------------------------------------------------------------------------


def command() -> list[str]:
    start = ROOT / "agent" / "weft_agent" / "keeper" / "start.py"
    return [sys.executable, "-I", "-S", str(start), str(ROOT / "agent"), "weft_agent.gate.wait"]


@pytest.mark.parametrize("uid", [None, "", "x" * 65, "abc def", "../..", "ABC\n"])
def test_without_a_uid_it_ends_at_once_and_fails(uid: str | None) -> None:
    environment = {} if uid is None else {POD_UID_VARIABLE: uid}
    done = subprocess.run(command(), env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == EXIT_CONFIG
    assert "metadata.uid" in done.stderr


def test_arguments_are_refused() -> None:
    done = subprocess.run(
        [*command(), "--help"], env={POD_UID_VARIABLE: UID}, capture_output=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == EXIT_CONFIG


def until_it_polls(pid: int) -> None:
    """Wait until a process has set its SIGTERM handler and waits."""
    caught = 1 << (signal.SIGTERM - 1)
    for _ in range(2000):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        mask = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
        if mask & caught:
            return
        threading.Event().wait(0.005)
    raise TimeoutError("the gate did not set up its signal handler")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_without_opening(number: signal.Signals) -> None:
    with subprocess.Popen(command(), env={POD_UID_VARIABLE: UID}, stderr=subprocess.PIPE, text=True) as gate:
        try:
            until_it_polls(gate.pid)
            gate.send_signal(number)
            _, errors = gate.communicate(timeout=PATIENCE_S)
        finally:
            gate.kill()
    assert gate.returncode == EXIT_TERMINATED
    assert "before the pod was captured" in errors


@pytest.mark.skipif(os.geteuid() != 0, reason="a pid namespace needs root")
def test_sigterm_ends_it_as_the_first_process_of_a_container() -> None:
    argv = ["unshare", "--pid", "--fork", "--kill-child", *command()]
    with subprocess.Popen(argv, env=os.environ | {POD_UID_VARIABLE: UID}, stderr=subprocess.DEVNULL) as parent:
        try:
            children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
            for _ in range(2000):
                if children.read_text():
                    break
                threading.Event().wait(0.005)
            child = int(children.read_text().split()[0])
            until_it_polls(child)
            os.kill(child, signal.SIGTERM)
            assert parent.wait(PATIENCE_S) == EXIT_TERMINATED
        finally:
            parent.kill()


def test_it_starts_within_150_ms_of_cpu_and_imports_the_standard_library_alone() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    runs = 5
    for _ in range(runs):
        subprocess.run(command(), env={}, capture_output=True, timeout=PATIENCE_S, check=False)
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = (now.ru_utime + now.ru_stime - before.ru_utime - before.ru_stime) / runs
    assert cpu_s < 0.150, f"{cpu_s * 1000:.0f} ms of CPU to start"
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'agent')!r}); import weft_agent.gate.wait; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True).stdout
    ours = {name for name in out.split() if name.startswith("weft_")}
    foreign = (
        {name.partition(".")[0] for name in out.split()}
        - sys.stdlib_module_names
        - {"__main__", "weft_agent", "weft_contract"}
    )
    assert not foreign, "nothing but the standard library and the contract"
    assert ours == {
        "weft_agent", "weft_agent.gate", "weft_agent.gate.wait", "weft_contract", "weft_contract.gate", "weft_contract.ports",
    }  # fmt: skip
