"""Settings: defaults, every mistake at once, and no value that means something else than it says."""

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from weft_agent.control.settings import Address, SettingsError, parse_settings

NEEDED = {"node": "n1.example", "config": "/c", "identity": "/i"}


def mistakes(raw: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        parse_settings(NEEDED | raw, 4)
    return caught.value.mistakes


def test_defaults_are_the_documented_ones() -> None:
    settings = parse_settings(NEEDED, 16)
    assert settings.state == Path("/run/weft/n1.example")
    assert settings.workers == 4
    assert str(settings.health_address) == "[::]:15021"
    assert str(settings.metrics_address) == "[::]:15020"
    assert (settings.backend, settings.log_format, settings.log_level) == ("auto", "json", "info")
    assert settings.remove_capture_on_exit is False
    assert settings.limits == {}


@pytest.mark.parametrize(("cpus", "workers"), [(1, 1), (2, 2), (4, 4), (64, 4)])
def test_workers_follow_the_cpus_up_to_four(cpus: int, workers: int) -> None:
    assert parse_settings(NEEDED, cpus).workers == workers


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings(
            {"node": "UPPER", "workers": "0", "health-address": "x", "limit": "nope=1", "log-level": "loud"}, 1
        )
    assert [text.split()[0].rstrip(":") for text in caught.value.mistakes] == [
        "--node",
        "--config",
        "--identity",
        "--workers",
        "--health-address",
        "--log-level",
        "--limit",
    ]


@pytest.mark.parametrize("node", ["", "A", "-a", "a-", "a_b", "a/b", "..", "a" * 254])
def test_a_node_name_is_a_kubernetes_name(node: str) -> None:
    assert any(text.startswith("--node") for text in mistakes({"node": node}))


@pytest.mark.parametrize("workers", ["0", "65", "-1", "two", "1.5", "²", ""])
def test_workers_are_a_number_in_range(workers: str) -> None:
    assert mistakes({"workers": workers})


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", Address("127.0.0.1", 80)),
        ("[::1]:80", Address("::1", 80)),
        ("localhost:0", Address("localhost", 0)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert parse_settings(NEEDED | {"health-address": text}, 1).health_address == address


@pytest.mark.parametrize("text", ["80", ":80", "host", "host:", "host:x", "host:65536", "host:-1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    assert mistakes({"health-address": text})


def test_limits_are_read_with_the_type_of_their_default() -> None:
    settings = parse_settings(NEEDED | {"limit": "drain_timeout_s=1.5,metric_series=10"}, 1)
    assert settings.limits == {"drain_timeout_s": 1.5, "metric_series": 10}
    assert type(settings.limits["metric_series"]) is int


@pytest.mark.parametrize("text", ["nope=1", "drain_timeout_s", "drain_timeout_s=", "drain_timeout_s=-1", "drain_timeout_s=nan",
                                  "drain_timeout_s=inf", "metric_series=0"])  # fmt: skip
def test_limits_that_are_none_are_refused(text: str) -> None:
    assert mistakes({"limit": text})


def test_settings_cannot_be_changed_and_can_be_shown() -> None:
    settings = parse_settings(NEEDED, 1)
    with pytest.raises(FrozenInstanceError):
        settings.node = "other"  # type: ignore[misc]  # that is what is tested
    assert settings.shown()["node"] == "n1.example"


OPERATOR = {
    "node": "n1",
    "operator": "https://weft-operator.weft-system:15010",
    "operator-roots": "/roots.pem",
    "token": "/token",
}


def test_an_operator_takes_the_place_of_files() -> None:
    settings = parse_settings(OPERATOR, 1)
    operator = settings.operator
    assert settings.config is None
    assert operator is not None
    assert operator.url == "https://weft-operator.weft-system:15010"
    assert (operator.roots, operator.token) == (Path("/roots.pem"), Path("/token"))
    assert operator.snapshot == Path("/var/lib/weft/n1")
    assert settings.identity == Path("/run/weft/n1/identity")
    assert settings.shown()["token"] == "/token"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://10.0.0.1", "https://10.0.0.1:15010"),
        ("https://[fd00::1]:443/", "https://[fd00::1]:443"),
    ],
)
def test_operators_addresses(url: str, shown: str) -> None:
    operator = parse_settings(OPERATOR | {"operator": url}, 1).operator
    assert operator is not None
    assert operator.url == shown


@pytest.mark.parametrize(
    "url",
    ["weft-operator:15010", "http://x:1", "https://", "https://x/path", "https://u@x", "https://x?y", "https://x:0x"],
)
def test_what_is_no_operators_url_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="--operator"):
        parse_settings(OPERATOR | {"operator": url}, 1)


def test_there_is_exactly_one_source() -> None:
    with pytest.raises(SettingsError, match="one source"):
        parse_settings(OPERATOR | {"config": "/c"}, 1)
    with pytest.raises(SettingsError, match="--config is required, or --operator"):
        parse_settings({"node": "n1", "identity": "/i"}, 1)
    assert mistakes({"token": "/t", "snapshot": "/s"}) == [
        "--token is given without --operator; it says nothing about files",
        "--snapshot is given without --operator; it says nothing about files",
    ]


def test_an_operator_needs_roots_and_a_token_and_both_are_told() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings({"node": "n1", "operator": "https://x"}, 1)
    assert [text.split()[0] for text in caught.value.mistakes] == ["--operator-roots", "--token"]
