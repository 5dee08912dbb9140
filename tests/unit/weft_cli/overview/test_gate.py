"""Who puts the capture gate into pods, as it is told: before an installation, and by what is installed."""

from collections.abc import Mapping
from typing import Any, cast

import pytest

from weft_cli.cluster.session import Session
from weft_cli.overview.gate import gate_before, gate_now, gate_resources
from weft_operator.access import ApiError, NotFoundError

GROUP = "/apis/admissionregistration.k8s.io"
POLICIES, BINDINGS = "mutatingadmissionpolicies", "mutatingadmissionpolicybindings"
WEBHOOKS = "mutatingwebhookconfigurations"
KINDS = {
    POLICIES: "MutatingAdmissionPolicy",
    BINDINGS: "MutatingAdmissionPolicyBinding",
    WEBHOOKS: "MutatingWebhookConfiguration",
}


class Server:
    """Serves the kinds of admission in their versions, and what there is of them.

    Args:
        served: plurals by version, the preferred one first.
        items: by plural; an error is raised.
    """

    def __init__(self, served: Mapping[str, tuple[str, ...]], items: Mapping[str, Any]) -> None:
        self.served, self.items = served, items

    def get(self, path: str) -> Any:
        if path == GROUP:
            return {
                "preferredVersion": {"version": next(iter(self.served))},
                "versions": [{"version": version} for version in self.served],
            }
        plurals = self.served[path.rpartition("/")[2]]
        return {"resources": [{"kind": KINDS[name], "name": name, "verbs": ["list"]} for name in plurals]}

    def everything(self, path: str, query: Mapping[str, str]) -> list[Any]:
        assert query == {"labelSelector": "app.kubernetes.io/name=weft,app.kubernetes.io/component=webhooks"}
        _, _, place = path.partition(f"{GROUP}/")
        version, _, plural = place.partition("/")
        if plural not in self.served[version]:
            raise NotFoundError("404", status=404)
        found = self.items.get(plural, [])
        if isinstance(found, Exception):
            raise found
        return list(found)


BETA = {"v1": (WEBHOOKS,), "v1beta1": (POLICIES, BINDINGS)}
OLD = {"v1": (WEBHOOKS,)}
NEW = {"v1": (POLICIES, BINDINGS, WEBHOOKS)}
HOOK = {"webhooks": [{"clientConfig": {"caBundle": "x"}}]}


def session(served: Mapping[str, tuple[str, ...]], **items: Any) -> Session:
    return cast("Session", Server(served, items))


@pytest.mark.parametrize(
    ("served", "says", "needed"),
    [
        (OLD, "webhook", []),
        (BETA, "API server", [POLICIES, BINDINGS]),
        (NEW, "API server", [POLICIES, BINDINGS]),
    ],
)
def test_before_an_installation(served: dict[str, tuple[str, ...]], says: str, needed: list[str]) -> None:
    finding = gate_before(session(served))
    assert finding.result == "ok"
    assert f"will be put in by the {says}" in finding.message.replace("operator's ", "")
    assert [name for _, name in gate_resources(session(served))] == needed


@pytest.mark.parametrize(
    ("served", "items", "result", "says"),
    [
        (NEW, {POLICIES: [{}], BINDINGS: [{}]}, "ok", "put in by the API server"),
        (BETA, {POLICIES: [{}], BINDINGS: [{}]}, "ok", "put in by the API server"),
        (BETA, {POLICIES: [{}]}, "error", "nobody"),
        (BETA, {WEBHOOKS: [HOOK]}, "ok", "operator's webhook"),
        (OLD, {WEBHOOKS: [HOOK]}, "ok", "operator's webhook"),
        (OLD, {WEBHOOKS: [{"webhooks": [{"clientConfig": {}}]}]}, "error", "no caBundle"),
        (OLD, {}, "error", "nobody"),
        (NEW, {POLICIES: ApiError("GET: 403 Forbidden", status=403)}, "warning", "could not be looked at"),
    ],
)
def test_of_an_installation(served: dict[str, tuple[str, ...]], items: dict[str, Any], result: str, says: str) -> None:
    finding = gate_now(session(served, **items))
    assert (finding.result, says in finding.message) == (result, True)
    assert bool(finding.remedy) == (result != "ok")
