"""What the Mesh object decides."""

from weft_contract.resources import Telemetry
from weft_operator.compile.settings import read_settings
from weft_testing import objects as o


def test_without_a_mesh_the_defaults_hold() -> None:
    settings = read_settings(o.view_of())
    assert (settings.trust_domain, settings.cluster_domain, settings.default_mode) == (
        "cluster.local",
        "cluster.local",
        "PERMISSIVE",
    )
    assert settings.telemetry == Telemetry()


def test_a_mesh_decides() -> None:
    spec = {
        "trustDomain": "corp.example",
        "clusterDomain": "k8s.corp",
        "defaultMode": "STRICT",
        "explainRefusals": "Always",
        "telemetry": {"accessLog": "All", "accessLogSamplingPercent": 5},
    }
    settings = read_settings(o.view_of(o.policy("Mesh", "default", spec)))
    assert (settings.trust_domain, settings.cluster_domain, settings.default_mode) == (
        "corp.example",
        "k8s.corp",
        "STRICT",
    )
    assert settings.telemetry == Telemetry(access_log="all", access_log_sampling_percent=5.0, explain_refusals="always")


def test_a_broken_mesh_keeps_its_names_and_is_strict() -> None:
    settings = read_settings(
        o.view_of(o.policy("Mesh", "default", {"trustDomain": "corp.example", "defaultMode": "strict"}))
    )
    assert (settings.trust_domain, settings.default_mode) == ("corp.example", "STRICT")


def test_an_unusable_trust_domain_falls_back_and_is_strict() -> None:
    settings = read_settings(o.view_of(o.policy("Mesh", "default", {"trustDomain": "Not A Domain"})))
    assert (settings.trust_domain, settings.default_mode) == ("cluster.local", "STRICT")


def test_a_mesh_of_another_name_decides_nothing() -> None:
    view = o.view_of(o.policy("Mesh", "second", {"trustDomain": "corp.example"}))
    assert read_settings(view).trust_domain == "cluster.local"
    assert view.problems
