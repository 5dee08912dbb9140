"""The agent's own log: levels, one line per event, nothing in a field can break out of it."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from weft_agent.telemetry.log import MAX_TEXT_CHARACTERS, Log


def written(style: str = "json", level: str = "info") -> tuple[Log, list[bytes]]:
    lines: list[bytes] = []
    return Log(lines.append, style, level), lines  # type: ignore[arg-type]  # literals given as text by the tests below


def value(line: bytes) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(line)
    return decoded


def test_an_event_has_a_name_a_level_a_time_and_fields() -> None:
    log, lines = written()
    log.warning("pod-not-captured", pod="shop/web", tries=3, problems=["a", "b"])
    line = value(lines[0])
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "event": "pod-not-captured",
        "pod": "shop/web",
        "tries": 3,
        "problems": ["a", "b"],
        "log": "agent",
    }


def test_text_is_for_eyes() -> None:
    log, lines = written("text")
    log.error("worker-stuck", worker=1)
    assert lines[0].decode().split(maxsplit=1)[1] == "error   worker-stuck worker=1\n"


def test_only_what_is_loud_enough_is_written_and_the_level_can_change() -> None:
    log, lines = written(level="warning")
    log.info("quiet")
    log.debug("quieter")
    log.warning("loud")
    log.level = "debug"
    log.debug("now")
    assert [value(line)["event"] for line in lines] == ["loud", "now"]


def test_an_exception_comes_with_its_traceback() -> None:
    log, lines = written()
    try:
        raise ValueError("broken")
    except ValueError as exc:
        log.exception("endpoint-failed", exc, path="/x")
    line = value(lines[0])
    assert line["error"] == "broken"
    assert line["traceback"].startswith("Traceback")
    assert "test_log.py" in line["traceback"]


@given(st.text(alphabet=st.characters()) | st.sampled_from(["\n{}", "\u2028", "\u202e", "\x1b[0m", "\ud800"]))
def test_no_field_breaks_out_of_its_line(text: str) -> None:
    for style in ("json", "text"):
        log, lines = written(style)
        log.info("event", field=text, many=[text])
        assert len(lines) == 1
        assert len(lines[0].decode().splitlines()) == 1
        assert "\u202e" not in lines[0].decode()


def test_long_fields_are_cut() -> None:
    log, lines = written()
    log.info("event", field="x" * 100_000)
    assert len(value(lines[0])["field"]) == MAX_TEXT_CHARACTERS
