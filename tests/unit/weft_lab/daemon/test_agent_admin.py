"""Asking an agent: over a real unix socket, with every answer it may give."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from weft_lab.daemon.agent_admin import AgentAnswerError, NotCapturedError, check_captured, report
from weft_lab.daemon.gate import meshed
from weft_lab.model import Metadata, Namespace
from weft_testing.lab import pod, view

STATUS = {
    "ready": True,
    "missing": [],
    "config": {"digest": "abc", "generation": 3, "problems": []},
    "workers": [{"worker": 0, "state": "serving", "appliedGeneration": 3}],
    "something": "newer",
}
PODS = [
    {"uid": "u1", "state": "captured", "identity": "spiffe://x/ns/a/sa/b", "pod": "a/b"},
    {"uid": "u2", "state": "failed", "identity": "i", "error": "why"},
]
CERTIFICATES = [{"identity": "spiffe://x/ns/a/sa/b", "leftSeconds": 10}]

Answers = dict[str, object]


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Callable[[Answers], Path]]:
    """A unix socket that answers each path with its JSON, or with the bytes given."""
    listeners: list[socket.socket] = []

    def start(answers: Answers) -> Path:
        path = tmp_path / "admin.sock"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        listeners.append(listener)
        threading.Thread(target=_serve, args=(listener, answers), daemon=True).start()
        return path

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _serve(listener: socket.socket, answers: Answers) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            path = connection.recv(65536).split(b" ")[1].decode()
            answer = answers.get(path)
            if isinstance(answer, bytes):
                connection.sendall(answer)
            else:
                body = json.dumps(answer).encode()
                status = b"200 OK" if path in answers else b"404 Not Found"
                connection.sendall(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)


def test_a_report_tells_whether_every_worker_enforces(agent: Callable[[Answers], Path]) -> None:
    found = report(agent({"/status": STATUS}))
    assert found.ready
    assert found.enforces("abc")
    assert not found.enforces("other")


@pytest.mark.parametrize(
    "workers",
    [[], [{"state": "serving", "appliedGeneration": 2}], [{"state": "loading", "appliedGeneration": 3}]],
)
def test_a_worker_behind_or_none_at_all_does_not_enforce(agent: Callable[[Answers], Path], workers: object) -> None:
    assert not report(agent({"/status": STATUS | {"workers": workers}})).enforces("abc")


def test_a_captured_and_certified_pod_may_start(agent: Callable[[Answers], Path]) -> None:
    check_captured(agent({"/pods": PODS, "/certificates": CERTIFICATES}), "u1")


@pytest.mark.parametrize(
    ("uid", "certificates", "said"),
    [("u1", [], "no certificate"), ("u2", CERTIFICATES, "failed why"), ("u3", CERTIFICATES, "does not know")],
)
def test_what_is_missing_is_said(agent: Callable[[Answers], Path], uid: str, certificates: object, said: str) -> None:
    with pytest.raises(NotCapturedError, match=said):
        check_captured(agent({"/pods": PODS, "/certificates": certificates}), uid)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_other_answers_are_errors(agent: Callable[[Answers], Path], answer: bytes) -> None:
    with pytest.raises(AgentAnswerError):
        report(agent({"/status": answer}))


def test_no_agent_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        report(tmp_path / "none.sock")


@pytest.mark.parametrize(
    ("own", "inherited", "expected"),
    [
        ("enabled", None, True),
        (None, "enabled", True),
        ("disabled", "enabled", False),
        ("enabled", "disabled", True),
        (None, None, False),
        ("yes", "enabled", False),
    ],
)
def test_a_pods_own_label_beats_its_namespaces(own: str | None, inherited: str | None, expected: bool) -> None:
    labels = {} if own is None else {"weft.dev/mesh": own}
    of_namespace = {} if inherited is None else {"weft.dev/mesh": inherited}
    namespace = Namespace(metadata=Metadata(name="shop", labels=of_namespace))
    assert meshed(view([namespace]), pod("a", labels=labels)) is expected
