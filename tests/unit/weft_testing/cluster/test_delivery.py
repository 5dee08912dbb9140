"""The example of progressive delivery and what the cluster test makes of it belong together."""

import re

import yaml

from weft_testing.cluster.delivery import EXAMPLES, PROMETHEUS_IN_EXAMPLES

METRICS = list(yaml.safe_load_all((EXAMPLES / "metrics.yaml").read_text()))
CANARY = list(yaml.safe_load_all((EXAMPLES / "canary.yaml").read_text()))


def test_the_canary_uses_the_templates_that_are_there() -> None:
    templates = {each["metadata"]["name"] for each in METRICS if each["kind"] == "MetricTemplate"}
    (canary,) = (each for each in CANARY if each["kind"] == "Canary")
    assert {each["templateRef"]["name"] for each in canary["spec"]["analysis"]["metrics"]} == templates


def test_the_templates_ask_the_address_that_is_replaced_for_metrics_that_agents_have() -> None:
    for template in METRICS[1:]:
        assert template["spec"]["provider"]["address"] == PROMETHEUS_IN_EXAMPLES
        assert set(re.findall(r"istio_\w+", template["spec"]["query"])) <= {
            "istio_requests_total",
            "istio_request_duration_milliseconds_bucket",
        }
