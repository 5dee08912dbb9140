"""The demonstration reads answers and metrics for what they are; a wrong answer is a failed check, never a crash."""

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from weft_lab.demonstration.stage import Answer
from weft_testing.cluster.demo import checks
from weft_testing.cluster.demo.scene import CLIENT_NODE, SERVER_NODE, TOUR, tour
from weft_testing.cluster.demo.stage import Stage

METRICS = """\
# HELP istio_requests_total Requests handled.
# TYPE istio_requests_total counter
istio_requests_total{reporter="destination",source_principal="spiffe://cluster.local/ns/shop/sa/web",response_code="200"} 40.0
istio_requests_total{reporter="destination",source_principal="spiffe://cluster.local/ns/shop/sa/web",response_code="429"} 2.0
istio_requests_total{reporter="source",source_principal="a \\"quoted\\" one",response_code="200"} 7.0
weft_build_info{version="0.1.0"} 1.0
"""


class Kubectl:
    def __call__(self, *arguments: str) -> str:
        assert arguments[:2] == ("get", "--raw")
        return METRICS

    def get(self, *arguments: str) -> dict[str, Any]:
        pods = [{"metadata": {"name": "old", "deletionTimestamp": "now"}}, {"metadata": {"name": "weft-agent-x"}}]
        return {"items": pods}


def stage() -> Stage:
    made = Stage.__new__(Stage)
    made.kubectl = cast("Any", Kubectl())
    return made


def test_series_with_the_wanted_labels_are_added_up() -> None:
    web = {"source_principal": "spiffe://cluster.local/ns/shop/sa/web"}
    assert stage().count("n1", "istio_requests_total", web) == 42
    assert stage().count("n1", "istio_requests_total", {**web, "response_code": "200"}) == 40
    assert stage().count("n1", "istio_requests_total", {"reporter": "nobody"}) == 0
    assert stage().agent_on("n1") == "weft-agent-x"


@pytest.mark.parametrize(
    ("statuses", "passed"),
    [
        ({"200": 50, "429": 110}, True),
        ({"200": 53, "429": 107}, True),
        ({"200": 160}, False),
        ({"200": 50, "429": 100, "503": 10}, False),
        ({"200": 44, "429": 116}, False),
    ],
)
def test_the_rate_is_judged_by_what_the_bucket_allows(statuses: dict[str, int], passed: bool) -> None:
    check = checks._rate_check(Answer(0, json.dumps({"statuses": statuses}), ""))
    assert check.passed is passed


def test_a_load_that_did_not_run_is_told() -> None:
    check = checks._rate_check(Answer(1, "", "error: no such host"))
    assert (check.passed, check.measured) == (False, "error: no such host")


def test_what_a_server_saw_and_what_refused() -> None:
    assert checks._status_and_peer(Answer(0, '{"peer": "10.0.0.1"}\n200', "")) == "200, 10.0.0.1"
    assert checks._status_and_peer(Answer(7, "", "curl: (7) refused")) == "curl 7, curl: (7) refused"
    text = "HTTP/1.1 429 Too Many Requests\nRetry-After: 1\n\nweft: 429 too many for backend/p"
    assert checks._refusal(text, "429") == "Retry-After: 1; 429 too many for backend/p"
    assert checks._refusal("HTTP/1.1 200 OK\n", "403") == "HTTP/1.1 200 OK"


def test_the_scene_stands_on_both_nodes() -> None:
    pods = [SimpleNamespace(**each["metadata"], spec=each["spec"]) for each in tour() if each["kind"] == "Pod"]
    placed = {pod.name: pod.spec["nodeSelector"]["kubernetes.io/hostname"] for pod in pods}
    assert placed == {"server": SERVER_NODE, "client": CLIENT_NODE, "outsider": CLIENT_NODE}
    assert {pod.namespace for pod in pods} == {TOUR, "outside"}
