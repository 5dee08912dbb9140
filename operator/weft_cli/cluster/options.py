"""Options that every command of a cluster has, how its API server is found, and its refusals as sentences with a remedy."""

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import click

from weft_cli.cluster.session import Session
from weft_cli.exits import FINDINGS, UNREACHABLE
from weft_cli.output import CommandError
from weft_operator.access import AccessError, ApiError, Credentials, InCluster, Kubeconfig, UnreachableError

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_KUBECONFIG: Final = Path("~/.kube/config")
SYSTEM_NAMESPACE: Final = "weft-system"
"""Where the chart is installed, unless --system-namespace says otherwise."""

kubeconfig_option = click.option(
    "--kubeconfig", metavar="FILE", help="default: $KUBECONFIG, then ~/.kube/config, then the pod's service account"
)
context_option = click.option("--context", metavar="NAME", default="", help="context of the kubeconfig")
system_namespace_option = click.option(
    "--system-namespace",
    metavar="NAMESPACE",
    default=SYSTEM_NAMESPACE,
    show_default=True,
    help="where Weft is installed",
)


def find_credentials(kubeconfig: str | None, context: str, environment: Mapping[str, str] = os.environ) -> Credentials:
    """Return how the API server is reached.

    Args:
        kubeconfig: file that was asked for.
        context: context that was asked for; empty: the current one.
        environment: of this process.

    Raises:
        AccessError: nothing says where a cluster is, or what says so cannot be used.
    """
    listed = [Path(part) for part in environment.get("KUBECONFIG", "").split(os.pathsep) if part]
    candidates = [Path(kubeconfig)] if kubeconfig else listed or [DEFAULT_KUBECONFIG.expanduser()]
    present = [path for path in candidates if path.exists()]
    if not present and not kubeconfig and environment.get("KUBERNETES_SERVICE_HOST") and not context:
        return InCluster(environment=environment).read()
    if not present:
        names = " nor ".join(map(str, candidates))
        raise AccessError(f"no cluster is known: there is no {names}; give --kubeconfig FILE or set KUBECONFIG")
    return _first(present, context)


def _first(paths: list[Path], context: str) -> Credentials:
    """Return the credentials of the first file that has the context; files of a list are not merged into each other."""
    refusals: list[str] = []
    for path in paths:
        try:
            return Kubeconfig(path, context).read()
        except AccessError as exc:
            refusals.append(str(exc))
    raise AccessError("; ".join(refusals))


def open_session(kubeconfig: str | None, context: str) -> Session:
    """Return a session with the cluster that options and environment name.

    Raises:
        CommandError: there is none.
    """
    try:
        return Session(find_credentials(kubeconfig, context))
    except AccessError as exc:
        raise CommandError(str(exc), UNREACHABLE) from exc


def cluster_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Turn what the API server refuses into sentences that say what to do."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except UnreachableError as exc:
            message = f"the API server does not answer: {exc}; is the cluster up, and is this the context you mean?"
            raise CommandError(message, UNREACHABLE) from exc
        except ApiError as exc:
            raise CommandError(f"{exc}{_remedy(exc)}", FINDINGS) from exc

    return run


def _remedy(error: ApiError) -> str:
    match error.status:
        case 401:
            return "; sign in again: the token or certificate of this kubeconfig is not accepted"
        case 403:
            return "; ask for a role that may get and list these objects (the chart's ClusterRole weft-view has them)"
        case _:
            return ""
