"""`weft lab wait`: until pods or workloads are ready, complete, or gone."""

import sys
import time
from collections.abc import Iterator
from typing import Final

import click

from weft_cli.duration import Duration
from weft_cli.exits import OK, USAGE
from weft_cli.lab.options import lab_errors, labels, name_option, namespace_option
from weft_cli.lab.readiness import GOALS, goal_of, missing
from weft_cli.lab.references import references
from weft_cli.output import CommandError, end
from weft_lab.client import Client, LabRequestError
from weft_lab.protocol import AgentStatus, LabStatus, Reference

_LOOK_S: Final = 0.1
"""An agent's state is no object and makes no revision: it is looked at so often."""
_ALL_KINDS: Final = ("pods", "deployments", "replicasets", "statefulsets", "daemonsets", "jobs")


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="KIND/NAME… | KIND | all")
@click.option("--for", "goal", default="ready", show_default=True, metavar="GOAL", help=f"one of {', '.join(GOALS)}")
@click.option("-l", "--selector", metavar="KEY=VALUE,…", help="objects with these labels")
@click.option("-A", "--all-namespaces", is_flag=True)
@click.option("--timeout", type=Duration(), default=60.0, metavar="TIME", help="default 60s")
@namespace_option
@name_option
@click.pass_context
@lab_errors
def wait(  # noqa: PLR0913  # one parameter for each option, as click wants it
    ctx: click.Context,
    words: tuple[str, ...],
    goal: str,
    selector: str | None,
    all_namespaces: bool,
    timeout: float,
    namespace: str,
    name: str,
) -> None:
    """Wait until objects are ready (or complete, or deleted); ends with 1 when the time is over, and says what is missing.

    `all` means every pod and workload of all namespaces (of one with -n), and every agent.
    """
    chosen_goal = goal_of(goal)
    if chosen_goal is None:
        raise CommandError(f"--for={goal} is not one of {', '.join(GOALS)}", USAGE)
    client = Client(name)
    given = ctx.get_parameter_source("namespace")
    if words == ("all",):
        only = namespace if given is click.core.ParameterSource.COMMANDLINE else None
        wait_for_all(client, only, timeout)
        end(OK)
    chosen = references(words, None if all_namespaces else namespace, labels(selector))
    _wait(client, chosen, chosen_goal, timeout, agents=False)
    end(OK)


def wait_for_all(client: Client, namespace: str | None, timeout_s: float) -> None:
    """Wait until everything in a lab is ready.

    Raises:
        CommandError: the time is over.
    """
    chosen = tuple(Reference(kind=kind, namespace=namespace) for kind in _ALL_KINDS)
    _wait(client, chosen, "ready", timeout_s, agents=True)


def not_in_force(status: LabStatus, revision: int) -> list[str]:
    """Return which agents do not enforce yet what a revision of the objects says."""
    if status.compiled_revision < revision:
        return ["the objects are being compiled"]
    return [
        f"agent of {node.name} {_agent_lack(node.agent)}"
        for node in status.nodes
        if node.agent.state not in {"off", "ready"} or (node.agent.state == "ready" and not node.agent.current)
    ]


def _agent_lack(agent: AgentStatus) -> str:
    if agent.state == "ready":
        return "does not enforce the latest configuration yet"
    return f"is {agent.state} {agent.message}".strip()


def wait_in_force(client: Client, revision: int, timeout_s: float) -> None:
    """Wait until every agent enforces what a revision of the objects says.

    Raises:
        CommandError: the time is over.
    """
    deadline = time.monotonic() + timeout_s
    while lacking := not_in_force(client.status(), revision):
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise CommandError(f"timed out after {timeout_s:g}s; {'; '.join(lacking)}")
        client.watch(sys.maxsize, min(left_s, _LOOK_S))


def _wait(client: Client, chosen: tuple[Reference, ...], goal: str, timeout_s: float, *, agents: bool) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        status = client.status()
        lacking = [*_lacking(client, chosen, goal, named=not agents)]
        if agents:
            lacking += not_in_force(status, status.revision)
        if not lacking:
            return
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            shown = "\n  ".join(lacking[:20])
            raise CommandError(f"timed out after {timeout_s:g}s; still missing:\n  {shown}")
        client.watch(status.revision, min(left_s, _LOOK_S if agents else left_s))


def _lacking(client: Client, chosen: tuple[Reference, ...], goal: str, *, named: bool) -> Iterator[str]:
    for reference in chosen:
        try:
            items = client.get(reference).items
        except LabRequestError as exc:
            if not exc.missing:
                raise
            items = ()
        if not items and named and goal != "deleted":
            yield f"{reference.kind} {reference.name or ''} is not there".strip()
        for item in items:
            lack = missing(item, goal)
            if lack:
                yield lack
