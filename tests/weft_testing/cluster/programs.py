"""Which foreign programs the cluster tests use: from which Go module, at which version, built how. Data only.

Theory. Programs that need replacements in their go.mod (Kubernetes points its staging modules at local folders) or that
must be checked against a committed go.sum have a workspace below `modules/`; the rest is taken as `go install` takes it.
A workspace is built whole, in one command: its programs share most packages, so the first one pays for the others (746
CPU seconds for all of Kubernetes, 488 of them for the API server alone).

Versions: Kubernetes 1.35 is the last release that runs on Debian 12's containerd 1.6 and on cgroup v1.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

KUBERNETES_VERSION: Final = "v1.35.4"
MODULES: Final = Path(__file__).parent / "modules"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program and where it comes from."""

    name: str
    package: str
    version: str
    workspace: str = ""
    """Folder below `modules/` with go.mod and go.sum; empty for `go install package@version`."""
    is_test: bool = False
    """Built by `go test -c`: the suite is the program."""
    tags: tuple[str, ...] = ()
    """Build tags beside those of every build; all programs of a workspace have the same."""
    variables: tuple[tuple[str, str], ...] = ()
    """String variables set by the linker, as (name, value)."""
    cpu_s: int = 30
    """What building it costs from nothing, in CPU seconds, measured on one machine: for the progress line only."""

    @property
    def built_name(self) -> str:
        """The file name that the go command gives it: the last element of the path that is no version."""
        if self.is_test:
            return f"{self.name}.test"
        return [part for part in self.package.split("/") if not re.fullmatch(r"v\d+", part)][-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedFiles:
    """Files that a module carries beside its code."""

    name: str
    module: str
    version: str
    folder: str
    workspace: str = ""


_MINOR: Final = KUBERNETES_VERSION.split(".")[1]
_KUBERNETES_VARIABLES: Final = tuple(
    (f"{package}.{name}", value)
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    for name, value in (
        ("gitVersion", KUBERNETES_VERSION),
        ("gitMajor", "1"),
        ("gitMinor", _MINOR),
        ("gitTreeState", "clean"),
        ("gitCommit", "unknown"),
        ("buildDate", "1970-01-01T00:00:00Z"),
    )
)
# Without these, helm 3 takes Kubernetes for v1.20 in `template` and `lint`, and a chart's kubeVersion refuses itself.
_HELM3_VARIABLES: Final = (
    ("helm.sh/helm/v3/internal/version.version", "v3.22.0"),
    *(
        (f"helm.sh/helm/v3/{package}.{name}", value)
        for package in ("pkg/chartutil", "pkg/lint/rules")
        for name, value in (("k8sVersionMajor", "1"), ("k8sVersionMinor", _MINOR))
    ),
)
_HELM4_VARIABLES: Final = (("helm.sh/helm/v4/internal/version.version", "v4.3.1"),)


def _kubernetes(name: str, cpu_s: int) -> Program:
    return Program(
        name=name,
        package=f"k8s.io/kubernetes/cmd/{name}",
        version=KUBERNETES_VERSION,
        workspace="kubernetes",
        variables=_KUBERNETES_VARIABLES,
        cpu_s=cpu_s,
    )


def _image_program(name: str) -> Program:
    return Program(
        name=name,
        package=f"./{name}",
        version=workspace_digest("images"),
        workspace="images",
        cpu_s=40 if name == "probe" else 5,
    )


def workspace_digest(workspace: str) -> str:
    """Return a short digest of a workspace's own files: the version of what has no other."""
    digest = hashlib.sha256()
    for path in sorted((MODULES / workspace).rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(MODULES)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


_ISTIO: Final = "v0.0.0-20260827124520-eed52ebb66ad"

PROGRAMS: Final[dict[str, Program]] = {
    program.name: program
    for program in (
        _kubernetes("kube-apiserver", 488),
        _kubernetes("kube-controller-manager", 123),
        _kubernetes("kube-scheduler", 7),
        _kubernetes("kubectl", 52),
        _kubernetes("kube-proxy", 15),
        _kubernetes("kubelet", 37),
        Program(name="etcd", package="go.etcd.io/etcd/server/v3", version="v3.6.5", workspace="kubernetes", cpu_s=23),
        Program(name="coredns", package="github.com/coredns/coredns", version="v1.15.0", cpu_s=253),
        Program(
            name="helm3",
            package="helm.sh/helm/v3/cmd/helm",
            version="v3.22.0",
            variables=_HELM3_VARIABLES,
            cpu_s=139,
        ),
        Program(
            name="helm4",
            package="helm.sh/helm/v4/cmd/helm",
            version="v4.3.1",
            variables=_HELM4_VARIABLES,
            cpu_s=248,
        ),
        Program(name="kwok", package="sigs.k8s.io/kwok/cmd/kwok", version="v0.8.0", cpu_s=144),
        Program(name="flagger", package="github.com/fluxcd/flagger/cmd/flagger", version="v1.36.1", cpu_s=161),
        Program(
            name="prometheus",
            package="github.com/prometheus/prometheus/cmd/prometheus",
            version="v0.315.1",
            workspace="prometheus",  # its go.mod has replacements
            tags=("remove_all_sd",),  # targets from its configuration and files only: no cloud's libraries
            cpu_s=200,
        ),
        Program(name="kubeconform", package="github.com/yannh/kubeconform/cmd/kubeconform", version="v0.8.0", cpu_s=40),
        Program(
            name="gateway-conformance",
            package=".",
            version="v1.6.3",
            workspace="gateway-api",
            is_test=True,
            cpu_s=153,
        ),
        Program(
            name="echo-server",
            package="istio.io/istio/pkg/test/echo/cmd/server",
            version=_ISTIO,
            workspace="istio-echo",
            cpu_s=60,
        ),
        Program(
            name="echo-client",
            package="istio.io/istio/pkg/test/echo/cmd/client",
            version=_ISTIO,
            workspace="istio-echo",
            cpu_s=13,
        ),
        _image_program("pause"),
        _image_program("probe"),
    )
}

FILES: Final[dict[str, SharedFiles]] = {
    files.name: files
    for files in (
        SharedFiles(
            name="gateway-api",
            module="sigs.k8s.io/gateway-api",
            version="v1.6.3",
            folder="config/crd",
            workspace="gateway-api",
        ),
        SharedFiles(name="flagger", module="github.com/fluxcd/flagger", version="v1.36.1", folder="artifacts/flagger"),
        SharedFiles(name="kwok", module="sigs.k8s.io/kwok", version="v0.8.0", folder="kustomize/stage"),
    )
}

API_SERVER_ONLY: Final = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
CONTROL_PLANE: Final = (*API_SERVER_ONLY, "kube-scheduler")
CLUSTER: Final = (*CONTROL_PLANE, "kubelet", "kube-proxy", "coredns", "pause", "probe")
EVERYTHING: Final = tuple(PROGRAMS)
