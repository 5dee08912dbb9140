"""A root's replacement on real nodes, under calls across nodes, with two replicas: nobody notices.

The clock is helped along: the Secret is told that the phases began earlier. What a clock cannot be told is that certificates are
renewed meanwhile, so those of this test live minutes: what signs them ends soon, below a root whose key is gone. That keeps the
operator from renewing it, until the new root's intermediate signs.
"""

import re
import time
from base64 import b64decode, b64encode
from operator import gt
from typing import Any

import msgspec
import pytest
from cryptography import x509

from weft_operator.ca.authority import create_intermediate
from weft_operator.ca.kept import ROTATE
from weft_operator.ca.rotation import MIN_DISTRIBUTION_S, OVERLAP_S
from weft_operator.ca.state import CaState, decode_state, encode_state, not_after, signer_record, signing_key
from weft_testing.cluster.cluster import Cluster
from weft_testing.cluster.demo.scene import CLIENT_NODE, SERVER_NODE
from weft_testing.cluster.demo.stage import Stage
from weft_testing.cluster.helm import NAMESPACE, Helm
from weft_testing.cluster.processes import wait_until
from weft_testing.cluster.scene import Scene

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SECRET = f"/api/v1/namespaces/{NAMESPACE}/secrets/weft-ca"
COUNT_ROOTS = "grep -hc BEGIN /var/lib/kubelet/pods/*/volumes/kubernetes.io~configmap/operator-roots/roots.pem"
SIGNER_LIFE_S = 440.0
"""Certificates want five minutes left of it; half of their life is this test's longest wait."""
WAIT_S = 180.0
PLACE = f"--namespace={NAMESPACE}"
METRICS = f"/api/v1/namespaces/{NAMESPACE}/pods/{{}}:15020/proxy/metrics"
ENDS = re.compile(r'^weft_operator_certificate_not_after_seconds\{certificate="intermediate"\} (\S+)$', re.MULTILINE)


@pytest.fixture
def stage(mesh: Cluster, helm: Helm) -> Stage:
    return Stage(mesh, helm)


def state(stage: Stage) -> CaState:
    found = stage.cluster.control_plane.api.get(SECRET)
    return decode_state(b64decode(found["data"]["ca.json"]), "the Secret")


def write(stage: Stage, changed: CaState, annotations: dict[str, str] | None = None) -> None:
    body: dict[str, Any] = {"data": {"ca.json": b64encode(encode_state(changed)).decode()}}
    if annotations:
        body["metadata"] = {"annotations": annotations}
    stage.cluster.control_plane.api.patch(SECRET, body)


def ask_for_a_new_root(stage: Stage) -> None:
    """Ask, and let what signs end in minutes."""
    found, now = state(stage), time.time()
    (root,) = found.roots
    signer = create_intermediate(signing_key(root), found.trust_domain, now_unix_s=now, ttl_s=SIGNER_LIFE_S)
    record = signer_record(signer, signing_key(root))
    changed = msgspec.structs.replace(found, signer=record, roots=(msgspec.structs.replace(root, key=""),))
    write(stage, changed, {ROTATE: "root"})
    wait_until(lambda: len(state(stage).roots) == 2, "the new root was added", 60)
    assert ROTATE not in (stage.cluster.control_plane.api.get(SECRET)["metadata"].get("annotations") or {})
    wait_until(lambda: signed_by_all(stage) == {round(not_after(record))}, "both replicas had read it", 60)


def signed_by_all(stage: Stage) -> set[int]:
    """Return when what signs ends, by what each replica says."""
    pods = stage.kubectl.get(PLACE, "pods", "--selector=app.kubernetes.io/component=operator")["items"]
    texts = [stage.kubectl("get", "--raw", METRICS.format(pod["metadata"]["name"])) for pod in pods]
    assert len(texts) == 2
    return {round(float(value)) for text in texts for value in ENDS.findall(text)}


def generations(stage: Stage) -> list[float]:
    return [stage.count(node, "weft_config_generation", {}) for node in (CLIENT_NODE, SERVER_NODE)]


def let_pass(stage: Stage, **began: float) -> None:
    """Let a phase of the rotation have begun earlier: fields of `Rotation` and seconds."""
    found = state(stage)
    assert found.rotation is not None
    earlier = {name: getattr(found.rotation, name) - seconds for name, seconds in began.items()}
    write(stage, msgspec.structs.replace(found, rotation=msgspec.structs.replace(found.rotation, **earlier)))


def root_of_certificates(scene: Scene, node: str) -> str:
    """Return the name of the root above the certificate that a node's agent has for the pods of the scene."""
    path = f"/run/weft/identity/{scene.namespace}.default.pem"
    text = scene.stage.on_node(node, "cat", path).text
    if not text:
        return ""
    chain = x509.load_pem_x509_certificates(text[text.index("-----BEGIN CERTIFICATE") :].encode())
    for root in state(scene.stage).roots:
        try:
            chain[-1].verify_directly_issued_by(x509.load_pem_x509_certificate(root.certificate.encode()))
        except Exception:
            continue
        return root.name
    return ""


def roots_of_certificates(scene: Scene) -> set[str]:
    return {root_of_certificates(scene, node) for node in (CLIENT_NODE, SERVER_NODE)}


def read_everywhere(stage: Stage) -> bool:
    """Whether the mounted files of both agents, by which they know the operator, have both roots."""
    counts = [stage.on_node(node, "sh", "-c", COUNT_ROOTS).text.split() for node in (CLIENT_NODE, SERVER_NODE)]
    return all(counts) and all(count == "2" for files in counts for count in files)


def test_a_root_is_replaced_under_traffic_and_no_call_fails(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    (old,) = (root.name for root in state(stage).roots)
    ask_for_a_new_root(stage)
    scene = Scene(stage, "rotation")
    assert roots_of_certificates(scene) == {old}
    with scene.calls() as calls:
        wait_until(lambda: read_everywhere(stage), "agents had both roots mounted", WAIT_S)
        assert state(stage).signer.root == old, "the new root must not sign before its time"
        let_pass(stage, since_unix_s=MIN_DISTRIBUTION_S)
        wait_until(lambda: state(stage).signer.root != old, "every node had acknowledged and the new root signed", 60)
        new = state(stage).signer.root
        wait_until(
            lambda: roots_of_certificates(scene) == {new}, "certificates were renewed below the new root", WAIT_S
        )
        before = generations(stage)
        let_pass(stage, moved_unix_s=OVERLAP_S)
        wait_until(lambda: [root.name for root in state(stage).roots] == [new], "the old root had left", 60)
        wait_until(lambda: all(map(gt, generations(stage), before)), "every node had dropped the old root", 60)
        assert roots_of_certificates(scene) == {new}
    with capsys.disabled():
        # A tunnel is cut with the root that vouched for it: what lives on it for longer than all certificates did, a day and
        # an hour, ends there. Whoever calls again is served.
        print(f"\nroot replaced: {calls.check(but='long TCP')}")  # noqa: T201 - for whoever watches the tests run
