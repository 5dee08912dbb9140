"""pytest fixtures: a control plane and a cluster per session, a namespace per test. A conftest imports what it uses.

`control_plane` is an API server with etcd and controller manager on loopback: no root, no nodes, five seconds. `cluster`
is everything, with two nodes, for root; see `cluster.py`. With WEFT_REQUIRE_CLUSTER=1 what is missing fails a test (and
programs are built); without, the test is skipped and says what is missing.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from weft_testing.cluster.api import Api, ApiError, Kubectl
from weft_testing.cluster.binaries import BuildError, Say, need
from weft_testing.cluster.cluster import Cluster
from weft_testing.cluster.control_plane import ControlPlane
from weft_testing.cluster.crds import Channel, apply_gateway_api
from weft_testing.cluster.helm import Helm, install_weft
from weft_testing.cluster.processes import log_tail
from weft_testing.cluster.programs import API_SERVER_ONLY, CLUSTER
from weft_testing.cluster.requirements import skip_or_fail, why_no_nodes, why_not_built
from weft_testing.cluster.toolchain import ToolchainError
from weft_testing.cluster.weft_images import weft_images

_numbers: Final = count(1)
_LINES: Final = 8
_LINE_CHARACTERS: Final = 300
_live: Final[list[ControlPlane]] = []


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Say:
    """Print a line past pytest's capture: a build takes minutes, and silence looks like a hang."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def line(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n{text}", end="", flush=True)  # noqa: T201 - for whoever watches the tests run

    return line


@pytest.fixture(scope="session")
def programs(say: Say) -> Callable[..., dict[str, Path]]:
    """Return a function like `binaries.need` that skips the test where a program cannot be had."""

    def wanted(*names: str) -> dict[str, Path]:
        skip_or_fail(why_not_built(names))
        try:
            return need(*names, say=say)
        except (BuildError, ToolchainError) as exc:
            skip_or_fail(str(exc))
            raise

    return wanted


@pytest.fixture(scope="session")
def control_plane(say: Say, programs: Callable[..., dict[str, Path]]) -> Iterator[ControlPlane]:
    """An API server, etcd and controller manager on loopback."""
    programs(*API_SERVER_ONLY)
    with ControlPlane.up(own_cluster_name("api"), on_loopback=True, say=say) as made:
        _live.append(made)
        yield made
        _live.remove(made)


@pytest.fixture(scope="session")
def cluster(say: Say, programs: Callable[..., dict[str, Path]]) -> Iterator[Cluster]:
    """A cluster with two nodes and DNS."""
    skip_or_fail(why_no_nodes())
    programs(*CLUSTER)
    with Cluster.up(own_cluster_name("nodes"), nodes=2, say=say) as made:
        _live.append(made.control_plane)
        yield made
        _live.remove(made.control_plane)


@pytest.fixture(scope="session")
def helm(cluster: Cluster, programs: Callable[..., dict[str, Path]], say: Say) -> Helm:
    """Helm 4 for the cluster."""
    programs("helm4")
    return Helm(cluster.kubeconfig, cluster.record.directory / "helm", say=say)


@pytest.fixture(scope="session")
def mesh(cluster: Cluster, helm: Helm, say: Say) -> Cluster:
    """The cluster with Weft on it: images of this checkout, both charts unmodified, operator and agents ready."""
    cluster.load(*weft_images(say=say))
    install_weft(helm)
    return cluster


@pytest.fixture(scope="session")
def kubeconfig(control_plane: ControlPlane) -> Path:
    """An administrator's kubeconfig of the control plane."""
    return control_plane.kubeconfig


@pytest.fixture(scope="session")
def kubectl(control_plane: ControlPlane) -> Kubectl:
    """kubectl for the control plane, as administrator."""
    return control_plane.kubectl


@pytest.fixture(scope="session")
def gateway_api(control_plane: ControlPlane) -> Callable[[Channel], None]:
    """Return a function that installs Gateway API in the control plane."""
    return lambda channel: apply_gateway_api(control_plane.kubectl, channel)


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """A fresh namespace of the control plane, deleted afterwards."""
    with fresh_namespace(control_plane.api) as name:
        yield name


@pytest.fixture
def cluster_namespace(cluster: Cluster) -> Iterator[str]:
    """A fresh namespace of the cluster, deleted afterwards."""
    with fresh_namespace(cluster.control_plane.api) as name:
        yield name


def own_cluster_name(kind: str) -> str:
    """Return a cluster name that no other test process uses."""
    return f"{kind}-{os.getpid()}"


@contextmanager
def fresh_namespace(api: Api, labels: dict[str, str] | None = None) -> Iterator[str]:
    """Make a namespace with its default service account, and delete it in the end without waiting for its content to go."""
    name = f"test-{os.getpid()}-{next(_numbers)}"
    metadata = {"name": name, "labels": labels or {}}
    api.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    try:
        api.create(f"/api/v1/namespaces/{name}/serviceaccounts", account)
    except ApiError as exc:
        if exc.status != 409:  # the controller manager was faster
            raise
    try:
        yield name
    finally:
        api.delete(f"/api/v1/namespaces/{name}")


def pytest_exception_interact(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Add the ends of all logs to the report of a failed test; a pytest hook for a conftest to import."""
    for each in _live:
        for log in sorted([*each.directory.glob("*.log"), *each.directory.glob("nodes/*/*.log")]):
            lines = [line[:_LINE_CHARACTERS] for line in log_tail(log, _LINES).splitlines()]
            report.sections.append((str(log), "\n".join(lines)))


__all__ = [
    "cluster",
    "cluster_namespace",
    "control_plane",
    "fresh_namespace",
    "gateway_api",
    "helm",
    "kubeconfig",
    "kubectl",
    "mesh",
    "namespace",
    "own_cluster_name",
    "programs",
    "pytest_exception_interact",
    "say",
]
