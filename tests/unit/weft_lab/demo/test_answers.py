"""What the demo server answers to which path."""

import json

import pytest

from weft_lab.demo.answers import Seen, answer, blocks, chunks, joined

ABOUT = {"pod": "web-0", "namespace": "shop", "node": "node-1"}


def seen(target: str, *headers: tuple[str, str]) -> Seen:
    return Seen("GET", target, headers, "10.0.0.1", 5, "10.0.0.2", 8080)


def test_any_path_is_answered_with_what_is_seen() -> None:
    found = answer(seen("/a?b=c", ("x-a", "1"), ("x-a", "2")), ABOUT)
    told = json.loads(found.body)
    assert (found.status, told["pod"], told["peer"], told["path"]) == (200, "web-0", "10.0.0.1", "/a?b=c")
    assert told["headers"] == {"x-a": "1, 2"}


@pytest.mark.parametrize(
    ("target", "status", "kind", "length"),
    [
        ("/status/503", 503, "text", 0), ("/status/204", 204, "text", 0), ("/status/99", 400, "text", 0),
        ("/status/x", 400, "text", 0), ("/bytes/1000", 200, "bytes", 1000), ("/bytes/-1", 400, "text", 0),
        ("/chunked/5", 200, "chunked", 5), ("/echo", 200, "echo", 0), ("/abort", 200, "abort", 0),
        ("/delay/x", 400, "text", 0), ("/delay/-1", 400, "text", 0), ("/bytes/" + "9" * 30, 400, "text", 0),
    ],
)  # fmt: skip
def test_paths(target: str, status: int, kind: str, length: int) -> None:
    found = answer(seen(target), ABOUT)
    assert (found.status, found.kind, found.length) == (status, kind, length)


def test_no_body_where_there_may_be_none() -> None:
    assert answer(seen("/status/204"), ABOUT).body == b""
    assert answer(seen("/status/304?x"), ABOUT).body == b""


def test_a_broken_release_fails_what_asks_for_nothing_in_particular() -> None:
    assert answer(seen("/"), ABOUT, 503).status == 503
    assert answer(seen("/status/200"), ABOUT, 503).status == 200, "probes may ask for an answer of their own"


def test_delays_and_closing() -> None:
    assert answer(seen("/delay/0.25"), ABOUT).delay_s == 0.25
    assert answer(seen("/close"), ABOUT).close


def test_upgrades_need_to_be_asked_for() -> None:
    assert answer(seen("/upgrade"), ABOUT).status == 426
    found = answer(seen("/upgrade", ("upgrade", "echo")), ABOUT)
    assert (found.status, found.kind) == (101, "upgrade")


@pytest.mark.parametrize("length", [0, 1, 16_384, 65_536, 200_000])
def test_bodies_have_their_length(length: int) -> None:
    assert sum(map(len, blocks(length))) == length
    assert b"".join(chunks(length)) == b"".join(blocks(length))
    assert max(map(len, chunks(length)), default=0) <= 16_384


def test_repeated_fields_are_joined_in_order() -> None:
    assert joined([("a", "1"), ("b", "x"), ("a", "2")]) == {"a": "1, 2", "b": "x"}
