"""Settings: defaults, environment, every mistake at once, help that reads well."""

import re
from pathlib import Path

import pytest

from weft_operator.__main__ import EXIT_USAGE, main
from weft_operator.server.options import OPTIONS, collect, pod_namespace
from weft_operator.server.settings import Address, SettingsError, parse_settings, replica_identity

LEAST = {"namespace": "weft-system", "gate-image": "weft.dev/agent:1"}


def test_defaults() -> None:
    found = parse_settings(LEAST, host="op-1")
    assert (found.instance, found.service, found.agent_account) == ("op-1", "weft-operator", "weft-agent")
    assert found.stream_address == Address("::", 15010)
    assert [str(each) for each in (found.webhook_address, found.metrics_address, found.health_address)] == [
        "[::]:15017",
        "[::]:15020",
        "[::]:15021",
    ]
    assert found.kubeconfig is None
    assert found.server_names == (
        "weft-operator",
        "weft-operator.weft-system",
        "weft-operator.weft-system.svc",
        "weft-operator.weft-system.svc.cluster.local",
    )


def test_the_name_that_agents_ask_for_is_served_whatever_the_service_is_called() -> None:
    found = parse_settings({**LEAST, "service": "control", "extra-names": "localhost,127.0.0.1"})
    assert found.server_names[:2] == ("weft-operator", "control")
    assert found.server_names[-2:] == ("localhost", "127.0.0.1")


def test_every_mistake_is_told_at_once() -> None:
    raw = {
        "gate-image": "",
        "service": "A",
        "stream-address": "15010",
        "log-level": "loud",
        "context": "c",
        "extra-names": "a b",
    }
    with pytest.raises(SettingsError) as raised:
        parse_settings(raw)
    mistakes = raised.value.mistakes
    assert len(mistakes) == 7
    assert "--namespace is required (or WEFT_NAMESPACE)" in mistakes
    assert "--gate-image is required (or WEFT_GATE_IMAGE)" in mistakes
    assert any(mistake.startswith("--stream-address '15010': must be HOST:PORT") for mistake in mistakes)


def test_flags_win_over_the_environment() -> None:
    environment = {"WEFT_NAMESPACE": "from-env", "WEFT_SERVICE": "from-env", "OTHER": "x"}
    assert collect({"namespace": "flag", "service": None}, environment) == {"namespace": "flag", "service": "from-env"}


def test_the_namespace_of_the_pod(tmp_path: Path) -> None:
    (tmp_path / "namespace").write_text("of-the-account\n")
    assert pod_namespace({}, tmp_path / "namespace") == "of-the-account"
    assert pod_namespace({"POD_NAMESPACE": "downward"}, tmp_path / "namespace") == "downward"
    assert pod_namespace({}, tmp_path / "nothing") == ""


def test_two_processes_of_one_pod_are_two_candidates() -> None:
    found = parse_settings(LEAST, host="op-1")
    assert replica_identity(found) != replica_identity(found)
    assert replica_identity(found).startswith("op-1_")


def test_wrong_settings_end_with_their_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--gate-image", "x"], {"WEFT_LOG_LEVEL": "loud"}) == EXIT_USAGE
    said = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in said] == ["weft-operator run"] * 2


def test_help_names_every_flag_and_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["run", "--help"])
    text = capsys.readouterr().out
    assert all(f"--{option.name} " in text for option in OPTIONS)
    assert all(re.search(r"required|default|further|Secret of|reach|context", option.help) for option in OPTIONS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out.startswith("weft-operator ")
