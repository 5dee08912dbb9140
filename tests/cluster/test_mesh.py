"""Weft on real nodes, installed by its charts: every claim of the demonstration, updates under load, and nothing left behind."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from weft_testing.cluster.cluster import Cluster
from weft_testing.cluster.demo.checks import all_checks
from weft_testing.cluster.demo.scene import TOUR
from weft_testing.cluster.demo.stage import Stage
from weft_testing.cluster.helm import NAMESPACE, Helm, install_weft

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

WAIT_S = 120
RELEASE_S = 15
"""Nobody talks at that time; what only rests is not waited for, as what is in use is (`drain_timeout_s`, 30 s)."""


@pytest.fixture(scope="module")
def stage(mesh: Cluster, helm: Helm) -> Stage:
    return Stage(mesh, helm)


@pytest.fixture(scope="module")
def shown(stage: Stage) -> Stage:
    """The stage after the demonstration: a namespace in the mesh, with a server on one node and a client on the other."""
    failed = [check for check in all_checks(stage) if not check.passed]
    assert not failed, "\n".join(f"{check.name}: {check.expected}, but {check.measured}" for check in failed)
    return stage


@contextmanager
def load(stage: Stage, url: str, seconds: int, rate: int = 40) -> Iterator[dict[str, Any]]:
    """Send requests from the client while the block lasts and until the time is over; what came of it is in the value then."""
    result: dict[str, Any] = {}
    command = stage.kubectl.command(
        f"--namespace={TOUR}", "exec", "client", "--",
        "weft-demo", "load", "--rps", str(rate), "--duration", str(seconds), "--connections", "8", "--timeout", "10", url,
    )  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield result
        out, errors = process.communicate(timeout=seconds + 60)
        result.update(json.loads(out) if out else {"errors": {errors: 1}})
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_every_claim_of_the_demonstration_holds(shown: Stage) -> None:
    conditions = shown.conditions("authorizationpolicies", "web-foo-at-10", "backend")
    assert {"Accepted", "Programmed"} <= conditions.keys()
    assert {each["status"] for each in conditions.values()} == {"True"}


@pytest.mark.parametrize("workload", ["deployment/weft-operator", "daemonset/weft-agent"])
def test_a_rolling_update_under_load_fails_no_request(shown: Stage, workload: str) -> None:
    place = f"--namespace={NAMESPACE}"
    with load(shown, f"http://server.{TOUR}/load", seconds=60) as result:
        shown.kubectl(place, "rollout", "restart", workload)
        shown.kubectl(place, "rollout", "status", workload, f"--timeout={WAIT_S}s")
    assert result.get("errors", {}) == {}, result
    assert set(result["statuses"]) == {"200"}, result
    assert result["statuses"]["200"] >= 60 * 40 * 0.9


def test_a_label_taken_away_makes_it_plain_again(shown: Stage) -> None:
    shown.kubectl("label", "namespace", TOUR, "weft.dev/mesh-")
    client = shown.addresses("client", TOUR)
    deadline = time.monotonic() + RELEASE_S
    netns = shown.netns("n1", client[4])
    while "weft" in (rules := shown.rules("n1", netns)):
        assert time.monotonic() < deadline, rules
    answer = shown.in_pod("client", "curl", "-sS", "--max-time", "5", f"http://server.{TOUR}/plain", namespace=TOUR)
    assert answer.status == 0, answer


def test_uninstalled_leaves_no_rule_in_any_namespace_and_traffic_is_plain(shown: Stage) -> None:
    api = shown.addresses(shown.pod_of("api", "backend"), "backend")[4]
    netns = shown.netns("n2", api)
    assert "weft" in shown.rules("n2", netns)
    try:
        shown.helm("uninstall", "weft", f"--namespace={NAMESPACE}", "--wait", f"--timeout={WAIT_S}s")
        deadline = time.monotonic() + WAIT_S
        while "weft" in (left := shown.rules("n2", netns)):
            assert time.monotonic() < deadline, left
        web = shown.pod_of("web", "shop")
        answer = shown.in_pod(web, "curl", "-sS", "--max-time", "5", "http://api.backend/bar", namespace="shop")
        assert answer.status == 0, answer
        kinds = "mutatingadmissionpolicy,mutatingadmissionpolicybinding"
        kinds += ",mutatingwebhookconfiguration,validatingwebhookconfiguration"
        left = shown.kubectl("get", kinds, "-o=name")
        assert "weft" not in left
    finally:
        install_weft(shown.helm)
