"""Credentials of a pod and of a kubeconfig: what is read, what is refused and with which words."""

from base64 import b64encode
from pathlib import Path

import pytest
import yaml

from weft_operator.access.credentials import REREAD_S
from weft_operator.apiserver import AccessError, Credentials, InCluster, Kubeconfig
from weft_operator.apiserver.connection import Identity
from weft_testing.cluster.pki import Authority


@pytest.fixture
def roots(tmp_path: Path) -> str:
    return Authority.make(tmp_path / "pki").certificate_pem.decode()


def pod_files(directory: Path, roots: str) -> InCluster:
    (directory / "ca.crt").write_text(roots)
    (directory / "token").write_text("token-1\n")
    return InCluster(directory, {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"})


def test_a_pod_is_its_service_account(tmp_path: Path, roots: str) -> None:
    found = pod_files(tmp_path, roots).read()
    assert found == Credentials(server="https://[fd00::1]:6443", roots_pem=roots, token="token-1")
    assert "token-1" not in repr(found), "secrets are not logged by accident"


def test_outside_a_pod_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(AccessError, match="give --kubeconfig"):
        InCluster(tmp_path, {}).read()


def test_a_missing_token_is_named(tmp_path: Path, roots: str) -> None:
    access = pod_files(tmp_path, roots)
    (tmp_path / "token").write_text("")
    with pytest.raises(AccessError, match="token is empty"):
        access.read()


def test_a_renewed_token_is_taken_up_and_a_broken_file_changes_nothing(tmp_path: Path, roots: str) -> None:
    now = 0.0
    identity = Identity(pod_files(tmp_path, roots), lambda: now)
    (tmp_path / "token").write_text("t2")
    assert identity.now.token == "token-1"
    now = REREAD_S
    assert identity.now.token == "t2"
    (tmp_path / "token").unlink()
    now = 2 * REREAD_S
    assert identity.now.token == "t2"


def kubeconfig(path: Path, cluster: dict[str, object], user: dict[str, object]) -> Kubeconfig:
    content = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://k:1/", **cluster}}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(yaml.safe_dump(content))
    return Kubeconfig(path)


def test_a_kubeconfig_holds_data_or_names_files_beside_it(tmp_path: Path, roots: str) -> None:
    (tmp_path / "token").write_text("abc\n")
    data = b64encode(roots.encode()).decode()
    found = kubeconfig(tmp_path / "a", {"certificate-authority-data": data}, {"tokenFile": "token"}).read()
    assert found == Credentials(server="https://k:1", roots_pem=roots, token="abc")
    found = kubeconfig(tmp_path / "a", {"certificate-authority": "pki/ca.crt"}, {"token": "x"}).read()
    assert (found.roots_pem, found.token) == (roots, "x")


@pytest.mark.parametrize(
    ("cluster", "user", "said"),
    [
        ({}, {"exec": {"command": "gke"}}, "`exec` of a user is not supported"),
        ({"server": "http://k"}, {}, "must begin with https://"),
        ({"certificate-authority-data": "%"}, {}, "certificate-authority-data is not base64"),
        ({"certificate-authority": "nowhere"}, {}, "nowhere: No such file"),
    ],
)
def test_what_cannot_be_used_is_refused_with_words(
    tmp_path: Path, cluster: dict[str, object], user: dict[str, object], said: str
) -> None:
    with pytest.raises(AccessError, match=said):
        kubeconfig(tmp_path / "a", cluster, user).read()


def test_a_context_that_is_not_there_is_named(tmp_path: Path) -> None:
    access = kubeconfig(tmp_path / "a", {}, {})
    with pytest.raises(AccessError, match="has no context 'other'"):
        Kubeconfig(access.path, "other").read()


def test_roots_that_are_no_certificates_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AccessError, match="certificates for https://k cannot be used"):
        Credentials(server="https://k", roots_pem="nonsense").tls()
