"""What the tests against a real Kubernetes share; `make test-cluster` runs them all."""

from weft_testing.cluster.fixtures import (
    cluster,
    cluster_namespace,
    control_plane,
    gateway_api,
    helm,
    kubeconfig,
    kubectl,
    mesh,
    namespace,
    programs,
    pytest_exception_interact,
    say,
)

__all__ = [
    "cluster",
    "cluster_namespace",
    "control_plane",
    "gateway_api",
    "helm",
    "kubeconfig",
    "kubectl",
    "mesh",
    "namespace",
    "programs",
    "pytest_exception_interact",
    "say",
]
