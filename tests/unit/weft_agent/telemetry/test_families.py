"""The declared metrics: names and labels that tools query, and rules that keep them clean."""

import re

import pytest

from weft_agent.telemetry.families import FAMILIES, Family

FLAGGER = {"reporter", "destination_workload", "destination_workload_namespace", "response_code"}


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_a_family_is_well_formed(family: Family) -> None:
    assert re.fullmatch(r"(istio|weft)_[a-z0-9_]+", family.name)
    assert family.name.endswith("_total") == (family.kind == "counter")
    assert family.help.endswith(".")
    assert len(set(family.labels)) == len(family.labels)
    assert (family.kind == "histogram") == bool(family.bounds)
    assert list(family.bounds) == sorted(set(family.bounds))
    assert family.scale == 1 or family.kind == "histogram"


@pytest.mark.parametrize("name", ["istio_requests_total", "istio_request_duration_milliseconds"])
def test_the_labels_that_flagger_and_kiali_query_are_there(name: str) -> None:
    labels = set(FAMILIES[name].labels)
    assert labels >= FLAGGER
    assert labels >= {
        f"{end}_{what}" for end in ("source", "destination") for what in ("canonical_service", "workload")
    }
    assert labels >= {"connection_security_policy", "response_flags", "grpc_response_status", "request_protocol"}


def test_no_label_can_carry_what_a_client_sent() -> None:
    forbidden = {"host", "path", "authority", "method", "url", "query", "user_agent", "address"}
    assert not {label for family in FAMILIES.values() for label in family.labels} & forbidden
