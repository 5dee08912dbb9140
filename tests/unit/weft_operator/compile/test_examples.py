"""The examples compile without a problem, and to what their first lines promise."""

from pathlib import Path

import pytest

from weft_contract.resources import AuthorizationPolicy, Route, Workload
from weft_operator.compile import Compiled, compile_cluster, read_documents, read_view
from weft_testing.objects import scheduled

_EXAMPLES = sorted((Path(__file__).parents[4] / "manifests" / "examples").glob("*.yaml"))
_EXPECTED = {"canary", "default-deny", "demo", "foo-at-10-qps", "probes", "routes", "strict", "tcp"}


def _compiled(name: str) -> Compiled:
    path = next(path for path in _EXAMPLES if path.stem == name)
    parsed = read_documents([(path.name, path.read_text())])
    assert parsed.complete
    view = read_view(scheduled(parsed.documents), {"cluster.local": ["root"]})
    assert view.skipped == ()
    return compile_cluster(view)


def _workloads(compiled: Compiled) -> dict[str, Workload]:
    entries = [entry.spec for document in compiled.nodes.values() for entry in document.resources]
    return {f"{item.namespace}/{item.workload}": item for item in entries if isinstance(item, Workload)}


def test_the_examples_are_those_we_promise() -> None:
    assert {path.stem for path in _EXAMPLES} == _EXPECTED


@pytest.mark.parametrize("name", sorted(_EXPECTED))
def test_an_example_has_no_errors_and_every_object_is_accepted(name: str) -> None:
    compiled = _compiled(name)
    assert [str(problem) for problem in compiled.problems if not problem.warning] == []
    assert all(result.accepted.holds for result in compiled.results)
    # The one warning is meant: these examples deny all on purpose.
    assert {problem.message for problem in compiled.problems} <= {"an ALLOW policy without rules denies every request"}
    assert [
        result.key for result in compiled.results if result.kind not in ("Mesh", "HTTPRoute") and not result.pods
    ] == []


def test_one_object_says_who_what_and_how_often() -> None:
    compiled = _compiled("foo-at-10-qps")
    assert [result.kind for result in compiled.results] == ["AuthorizationPolicy"]
    api = _workloads(compiled)["backend/api"]
    assert api.policies == ("backend/web-foo-at-10",)
    policy = next(
        entry.spec for document in compiled.nodes.values() for entry in document.resources
        if isinstance(entry.spec, AuthorizationPolicy)
    )  # fmt: skip
    assert policy.rules[0].rate_limit is not None
    assert (policy.rules[0].rate_limit.requests_per_second, policy.rules[0].rate_limit.burst) == (10.0, 10)


def test_strict_and_probes_refuse_plaintext_and_know_the_probes() -> None:
    workloads = _workloads(_compiled("strict"))
    assert set(workloads) == {"strict/web", "strict/client"}
    assert {item.mtls for item in workloads.values()} == {"STRICT"}
    probed = _workloads(_compiled("probes"))["probes/probed"]
    assert {(probe.kind, probe.port, probe.path) for probe in probed.probes} == {
        ("http", 8080, "/healthz"),
        ("http", 8080, "/status/200"),
        ("http", 8080, "/healthz?ready=1"),
        ("tcp", 7777, ""),
    }
    assert probed.mtls == "STRICT"


def test_the_canary_splits_by_weight() -> None:
    compiled = _compiled("canary")
    route = next(entry.spec for entry in compiled.nodes["node-1"].resources if isinstance(entry.spec, Route))
    assert [(backend.service, backend.weight) for backend in route.http[1].backends] == [
        ("canary/web-v1", 90),
        ("canary/web-v2", 10),
    ]
    assert route.parents[0].port == 80


def test_replicas_of_the_demo_are_on_both_nodes() -> None:
    compiled = _compiled("demo")
    for name in ("demo/web", "demo/api"):
        nodes = [
            node
            for node, document in compiled.nodes.items()
            for entry in document.resources
            if isinstance(entry.spec, Workload) and f"{entry.spec.namespace}/{entry.spec.workload}" == name
        ]
        assert sorted(nodes) == ["node-1", "node-2"]
