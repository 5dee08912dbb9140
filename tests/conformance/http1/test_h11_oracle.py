"""h11 as judge over the whole corpus: what we accept it accepts too, and it reads the same messages out of it."""

import tomllib
from pathlib import Path
from random import Random

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft_testing.http1_cases import REQUESTS, RESPONSES, RequestCase, ResponseCase
from weft_testing.http1_mutations import CHUNK_SEEDS, REQUEST_SEEDS, RESPONSE_SEEDS, mutate, mutated
from weft_testing.http1_properties import check_h11, h11_refuses
from weft_testing.http1_reader import read

ARGUED = tomllib.loads((Path(__file__).parent / "exceptions.toml").read_text())["exception"]
EXCEPTIONS = {entry["case"]: entry for entry in ARGUED if entry["judge"] == "h11"}
ACCEPTED = [case for case in REQUESTS if case.rule is None]
ACCEPTED_RESPONSES = [case for case in RESPONSES if case.rule is None]


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.id)
def test_requests(case: RequestCase) -> None:
    refusal = h11_refuses(case.data, None)
    assert (refusal is not None) == (case.id in EXCEPTIONS), refusal


@pytest.mark.parametrize("case", ACCEPTED_RESPONSES, ids=lambda case: case.id)
def test_responses(case: ResponseCase) -> None:
    assert h11_refuses(case.data, case.method) is None


def test_http_1_0_then_another() -> None:
    data = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n"
    assert h11_refuses(data, None) is not None
    assert len(read([data]).messages) == 2
    check_h11(data, None)


def test_every_exception_is_argued() -> None:
    known = {case.id for case in ACCEPTED} | {"http-1-0-then-another"}
    for entry in ARGUED:
        assert entry["judge"] in {"h11", "envoy"}
        assert entry["section"].startswith("RFC ")
        assert entry["why"]
        assert entry["case"] in known, "an exception for what we do not accept"


@pytest.mark.parametrize(
    "case", [case for case in ACCEPTED if len(case.bodies) == 1 and case.id not in EXCEPTIONS], ids=lambda case: case.id
)
def test_same_reading(case: RequestCase) -> None:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(case.data)
    message = read([case.data]).messages[0]
    head = message.head
    request = connection.next_event()
    assert isinstance(request, h11.Request)
    assert (request.method, request.target) == (getattr(head, "method", None), getattr(head, "target", None))
    assert request.http_version == b"1.%d" % head.minor
    assert [(name, value.lower()) for name, value in request.headers] == [
        (name, value.lower()) for name, value in head.headers()
    ]
    body = b""
    while isinstance(event := connection.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert body == message.body == case.bodies[0]


@settings(max_examples=400, deadline=None)
@given(st.randoms(use_true_random=False))
def test_mutated_requests(rng: Random) -> None:
    check_h11(mutated(REQUEST_SEEDS, rng), None)


@settings(max_examples=200, deadline=None)
@given(st.randoms(use_true_random=False))
def test_mutated_chunks(rng: Random) -> None:
    body = mutated(CHUNK_SEEDS, rng)
    check_h11(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body, None)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(RESPONSE_SEEDS), st.randoms(use_true_random=False))
def test_mutated_responses(seed: tuple[bytes, bytes], rng: Random) -> None:
    check_h11(mutate(seed[0], rng), seed[1])
