"""The table of programs: names, versions, and what is found without building."""

from pathlib import Path

import pytest

from weft_testing.cluster.__main__ import _split
from weft_testing.cluster.binaries import missing, need, remove_tree
from weft_testing.cluster.programs import CLUSTER, FILES, KUBERNETES_VERSION, MODULES, PROGRAMS, Program, SharedFiles


def test_workspaces_are_pinned() -> None:
    sources: list[Program | SharedFiles] = [*PROGRAMS.values(), *FILES.values()]
    for source in sources:
        if source.workspace:
            text = (MODULES / source.workspace / "go.mod").read_text()
            assert source.workspace == "images" or (MODULES / source.workspace / "go.sum").is_file()
            assert source.workspace == "images" or source.version in text, f"{source.name} {source.version}"


def test_kubernetes_says_its_version() -> None:
    variables = dict(PROGRAMS["kube-apiserver"].variables)
    assert variables["k8s.io/component-base/version.gitVersion"] == KUBERNETES_VERSION
    assert dict(PROGRAMS["helm3"].variables)["helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor"] == "35"


def test_names_that_the_go_command_gives() -> None:
    names = {name: PROGRAMS[name].built_name for name in ("etcd", "helm3", "helm4", "kubelet", "gateway-conformance")}
    assert names == {
        "etcd": "server",
        "helm3": "helm",
        "helm4": "helm",
        "kubelet": "kubelet",
        "gateway-conformance": "gateway-conformance.test",
    }


def test_an_empty_cache_lacks_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEFT_CACHE", str(tmp_path))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    assert missing(CLUSTER) == list(CLUSTER)


def test_what_is_there_is_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    built = tmp_path / "cache" / "bin" / f"helm4-{PROGRAMS['helm4'].version}" / "helm4"
    given = tmp_path / "assets" / "etcd"
    not_asked_for = tmp_path / "assets" / "kubelet"
    for path in (built, given, not_asked_for):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert need("helm4", "etcd") == {"helm4": built, "etcd": given}
    assert missing(["kubelet"]) == ["kubelet"], "the convention of KUBEBUILDER_ASSETS knows no kubelet"
    assert not (tmp_path / "cache" / "lock").exists(), "readers take no lock"


def test_a_read_only_tree_is_removed(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "deep" / "er").mkdir(parents=True)
    (tree / "deep" / "file").touch()
    for path in (tree / "deep" / "er", tree / "deep", tree):
        path.chmod(0o500)
    remove_tree(tree)
    remove_tree(tree)
    assert not tree.exists()


@pytest.mark.parametrize(
    ("words", "own", "passed_on"),
    [
        (["kubectl", "get", "pods"], ["kubectl"], ["get", "pods"]),
        (["kubectl", "--name", "x", "exec", "p", "--", "ls"], ["kubectl", "--name", "x"], ["exec", "p", "--", "ls"]),
        (["kubectl", "--name=x", "-n", "y"], ["kubectl", "--name=x"], ["-n", "y"]),
        (["kubectl"], ["kubectl"], []),
        (["up", "--nodes", "2"], ["up", "--nodes", "2"], []),
    ],
)
def test_words_of_kubectl_are_left_to_kubectl(words: list[str], own: list[str], passed_on: list[str]) -> None:
    assert _split(words) == (own, passed_on)
