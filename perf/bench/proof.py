"""The proof that an entrant does what a scenario is about, before it is measured: right answers, and refusals by its rule."""

import socket
from dataclasses import dataclass
from typing import Final

from perf.bench.entrants import Entrant
from perf.bench.scenarios import ECHO_PORTS, MESSAGE_BYTES, Scenario
from perf.bench.stage import Stage, StageError, until

from weft_lab.machine.namespaces import in_namespace

TARGET: Final = "/api/v1/items?id=7"
FORBIDDEN: Final = "/other"
"""What the rule of every contestant that has one refuses."""
HEADERS: Final = (
    ("user-agent", "wrk-bench/1.0"),
    ("accept", "*/*"),
    ("x-b3-traceid", "80f198ee56343ba864fe8b2a57d3eff7"),
    ("authorization", "Bearer abcdefghijklmnopqrstuvwxyz0123456789"),
)
"""Beside `host`. Source: performance.md §1."""

_ANSWER_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, read by hand."""

    status: int
    body_bytes: int
    wire_bytes: int


def fetch(stage: Stage, entrant: Entrant, port: int, target: str) -> Answer:
    """Ask for something from the entrant's client pod.

    Raises:
        OSError: there was no whole answer.
    """

    def ask() -> Answer:
        with socket.create_connection((entrant.host, port), timeout=_ANSWER_S) as connection:
            lines = [f"GET {target} HTTP/1.1", f"host: {entrant.host}:{port}"]
            lines += [f"{name}: {value}" for name, value in HEADERS]
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
            return _read_answer(connection)

    return in_namespace(stage.namespace(entrant.client), ask)


def _read_answer(connection: socket.socket) -> Answer:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, _ = data.partition(b"\r\n\r\n")
    first, *fields = head.decode("latin-1").lower().split("\r\n")
    values = dict(field.split(":", 1) for field in fields)
    length = int(values.get("content-length", "0"))
    whole = len(head) + 4 + length
    while len(data) < whole:
        data += _more(connection)
    return Answer(int(first.split()[1]), length, len(data))


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(1 << 20)
    if not data:
        raise ConnectionResetError("closed before the answer was complete")
    return data


def prove(stage: Stage, scenario: Scenario, entrant: Entrant) -> int:
    """See that an entrant does what the scenario is about, once; wait until it does.

    Returns:
        For HTTP, the bytes of one answer on the wire; else 0.

    Raises:
        StageError: it does not, or it lets pass what its rule refuses.
    """
    if scenario.load == "bulk":
        return 0  # the sink judges every byte of the warm-up
    if scenario.load != "http":
        until(lambda: _echoes(stage, entrant), f"{entrant.name} carries an echo ({scenario.name})")
        return 0

    def answers() -> Answer | None:
        try:
            answer = fetch(stage, entrant, scenario.port, TARGET)
        except OSError:
            return None
        return answer if (answer.status, answer.body_bytes) == (200, scenario.body_bytes) else None

    answer = until(answers, f"{entrant.name} answers 200 with {scenario.body_bytes} bytes ({scenario.name})")
    if must_refuse(scenario, entrant) and fetch(stage, entrant, scenario.port, FORBIDDEN).status != 403:
        raise StageError(f"{entrant.name} does not refuse {FORBIDDEN} with 403: its rule is not in force")
    assert answer is not None
    return answer.wire_bytes


def must_refuse(scenario: Scenario, entrant: Entrant) -> bool:
    """Tell whether an entrant has a rule on paths in this scenario."""
    return scenario.name != "mesh_tcp" and entrant.name != "envoy-min"


def _echoes(stage: Stage, entrant: Entrant) -> bool:
    message = bytes(range(MESSAGE_BYTES))

    def ask() -> bool:
        with socket.create_connection((entrant.host, ECHO_PORTS[0]), timeout=_ANSWER_S) as connection:
            connection.sendall(message)
            got = b""
            while len(got) < len(message):
                got += _more(connection)
            return got == message

    try:
        return in_namespace(stage.namespace(entrant.client), ask)
    except OSError:
        return False
