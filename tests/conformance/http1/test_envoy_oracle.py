"""A real Envoy as judge over the same bytes: we may be stricter than it, never laxer, and we forward what it forwards.

One Envoy with the strictest settings it has stands in front of raw recorders. What counts is what arrived there: how many
requests, with which target and which body.
"""

import re
import socket
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import h11
import pytest

from weft_core.canonical import canonical_target
from weft_core.errors import RemoteProtocolError
from weft_core.http1 import RequestHead
from weft_testing.envoy import Envoy, require_envoy
from weft_testing.http1_cases import REQUESTS, RESPONSES, RequestCase, ResponseCase, get
from weft_testing.http1_mutations import REQUEST_SEEDS, TARGET_SEEDS, mutated
from weft_testing.http1_reader import Reader, read
from weft_testing.recorder import Recorder

pytestmark = pytest.mark.envoy

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
ANSWER_S = 0.5
"""Envoy answers in milliseconds or not at all."""
QUIET_S = 0.02
MUTATIONS = 250
KNOWN_METHODS = {b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"PATCH"}
EXCEPTIONS = {
    entry["case"]
    for entry in tomllib.loads((Path(__file__).parent / "exceptions.toml").read_text())["exception"]
    if entry["judge"] == "envoy"
}
NOT_ROUTED = {"absolute-form-query-only", "options-star", "connect", "connect-host-without-port", "connect-ipv6"}
"""Envoy reads them and its router answers 404, since a route's prefix `/` does not match them."""


@dataclass(frozen=True)
class Judge:
    """Envoy and the recorders behind it."""

    envoy: Envoy
    requests: Recorder

    def ask(self, data: bytes, name: str, wanted: int = 1) -> list[int]:
        """Send bytes, return the final statuses that came back."""
        answer = b""
        with socket.create_connection(("127.0.0.1", self.envoy.ports[name]), timeout=ANSWER_S) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                connection.sendall(data)
                while received := connection.recv(65536):
                    answer += received
                    if len(statuses(answer)) >= wanted:
                        connection.settimeout(QUIET_S)
            except OSError:  # quiet, or reset behind a refusal
                pass
        return statuses(answer)


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] ([2-5][0-9]{2}) ", answer)]


def response_for(request: bytes) -> bytes:
    found = re.search(rb"/case/(\S+)", request)
    return next(case.data for case in RESPONSES if found and case.id.encode() == found[1])


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    require_envoy()
    with (
        Recorder(lambda request: OK) as requests,
        Recorder(response_for) as responses,
        Envoy({"requests": requests.port, "responses": responses.port}) as envoy,
    ):
        yield Judge(envoy, requests)


def recorded(connections: list[bytes]) -> list[tuple[bytes, bytes]]:
    """Return target and body of every recorded request, as h11 reads them."""
    found = []
    for data in connections:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        connection.receive_data(data)
        request = connection.next_event()
        assert isinstance(request, h11.Request)
        body = b""
        while isinstance(event := connection.next_event(), h11.Data):
            body += event.data
        assert isinstance(event, h11.EndOfMessage)
        found.append((request.target, body))
    return found


def same_target(ours: bytes, theirs: bytes) -> bool:
    """Compare after what Envoy leaves undone: digits of escapes in upper case, brackets escaped, `//` alone merged."""
    path, mark, query = theirs.partition(b"?")
    path = re.sub(rb"%[0-9a-fA-F]{2}", lambda found: found[0].upper(), path)
    path = path.replace(b"[", b"%5B").replace(b"]", b"%5D")
    return ours == (b"/" if path == b"//" else path) + mark + query


def forwards(reader: Reader) -> list[tuple[bytes, bytes]]:
    """Return target and body of what we forward."""
    return [
        (canonical_target(message.head.target, message.head.method).forward, message.body)
        for message in reader.messages
        if isinstance(message.head, RequestHead)
    ]


def compare(judge: Judge, data: bytes) -> None:
    """Hold that Envoy accepts and forwards the requests we accept."""
    reader = read([data])
    ours = forwards(reader)
    answers = judge.ask(data[: reader.consumed], "requests", len(ours))
    assert answers == [200] * len(ours), data
    theirs = recorded(judge.requests.take())
    assert len(theirs) == len(ours)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine[1] == other[1], data
        assert same_target(mine[0], other[0]), (mine[0], other[0])


@pytest.mark.parametrize(
    "case", [case for case in REQUESTS if case.rule is None and case.id not in NOT_ROUTED], ids=lambda case: case.id
)
def test_never_laxer(judge: Judge, case: RequestCase) -> None:
    if case.id in EXCEPTIONS:
        assert judge.ask(case.data, "requests", len(case.bodies))[-1] == 400
        judge.requests.take()
    else:
        compare(judge, case.data)


@pytest.mark.parametrize("case", [case for case in REQUESTS if case.id in NOT_ROUTED], ids=lambda case: case.id)
def test_never_laxer_where_nothing_is_routed(judge: Judge, case: RequestCase) -> None:
    assert judge.ask(case.data, "requests") == [404]


@pytest.mark.parametrize("case", [case for case in RESPONSES if case.rule is None], ids=lambda case: case.id)
def test_never_laxer_with_responses(judge: Judge, case: ResponseCase) -> None:
    request = b"%b /case/%b HTTP/1.1\r\nHost: a\r\n\r\n" % (case.method, case.id.encode())
    expected = getattr(read([case.data], case.method).messages[-1].head, "status", None)
    assert judge.ask(request, "responses") == [expected]


def test_never_laxer_with_mutations(judge: Judge) -> None:
    rng = Random(20261121)
    compared = 0
    deadline = time.monotonic() + 30
    while compared < MUTATIONS:
        assert time.monotonic() < deadline
        data = mutated(REQUEST_SEEDS, rng)
        if comparable(data):
            compare(judge, data)
            compared += 1


def comparable(data: bytes) -> bool:
    """Tell whether we accept the bytes whole, and neither Envoy's list of methods nor its routes stand in the way."""
    reader = read([data])
    if reader.refused is not None or reader.incomplete or not reader.messages:
        return False
    for message in reader.messages:
        head = message.head
        assert isinstance(head, RequestHead)
        try:
            path = canonical_target(head.target, head.method).forward
        except RemoteProtocolError:
            return False
        upgraded = head.header(b"upgrade") or head.header(b"http2-settings")
        if head.method not in KNOWN_METHODS or not path.startswith(b"/") or upgraded or head.expect_continue:
            return False
        if head.minor == 0 or head.target.lower().startswith(b"http"):
            return False
    return True


def test_targets(judge: Judge) -> None:
    rng = Random(3986)
    targets = [*TARGET_SEEDS, *(mutated(TARGET_SEEDS, rng) for _ in range(600))]
    compared = 0
    for target in targets:
        try:
            accepted = canonical_target(target).form == "origin"
        except RemoteProtocolError:
            continue
        if accepted:
            compare(judge, get(target=target))
            compared += 1
    assert compared > 100
