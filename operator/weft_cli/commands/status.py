"""`weft status`: nodes, agents, captured pods, configuration, certificates, operators, and objects that are not in force."""

import time
from typing import Final

import click
import msgspec

from weft_cli.cluster.options import (
    cluster_errors,
    context_option,
    kubeconfig_option,
    open_session,
    system_namespace_option,
)
from weft_cli.exits import FINDINGS, OK
from weft_cli.output import end, print_document, print_problem, print_table
from weft_cli.overview.facts import Facts, gather
from weft_cli.overview.nodes import NodeState, OperatorState, node_states, operator_states
from weft_cli.overview.objects import ObjectState, troubled

NO_OPERATOR: Final = (
    "no operator runs: traffic goes on as it is; changes do not reach the agents, certificates are not renewed, pods of new "
    "identities wait at their gate, and where the webhook alone puts the gate in (`weft check`) no pod of the mesh can be "
    "made; look at deployment/weft-operator in --system-namespace"
)


@click.command()
@click.option("-o", "--output", type=click.Choice(["table", "wide", "json", "yaml"]), default="table")
@system_namespace_option
@kubeconfig_option
@context_option
@cluster_errors
def status(output: str, system_namespace: str, kubeconfig: str | None, context: str) -> None:
    """Show how the mesh of a cluster is, node by node. Ends with 1 if something is not in order.

    Needs rights to read pods, nodes and the mesh's objects; `get` on pods/proxy shows what the agents themselves say.
    """
    with open_session(kubeconfig, context) as session:
        facts = gather(session, system_namespace)
    nodes, operators, objects = node_states(facts), operator_states(facts), troubled(facts)
    if output in ("json", "yaml"):
        values = {
            "server": facts.server,
            "serverVersion": facts.server_version,
            "nodes": msgspec.to_builtins(nodes),
            "operators": msgspec.to_builtins(operators),
            "objects": msgspec.to_builtins(objects),
            "unknown": list(facts.missing),
        }
        print_document(values, output)
    else:
        _print(facts, nodes, operators, objects, wide=output == "wide")
    complaints = [*(node.message for node in nodes), *(operator.message for operator in operators)]
    end(FINDINGS if any(complaints) or objects or not operators else OK)


def _print(
    facts: Facts, nodes: list[NodeState], operators: list[OperatorState], objects: list[ObjectState], *, wide: bool
) -> None:
    click.echo(f"cluster {facts.server}, Kubernetes {facts.server_version}")
    if not facts.agents and not operators:
        print_problem("Weft's pods are not there; is it installed in --system-namespace?", warning=False)
    elif not operators:
        print_problem(NO_OPERATOR, warning=False)
    if operators:
        click.echo()
        print_table(("OPERATOR", "READY", "LEADS", "STREAMS", "MESSAGE"), map(_operator_row, operators))
    click.echo()
    header = ("NODE", "AGENT", "PODS", "CONFIG", "CERTIFICATES", *(("POD", "VERSION", "RESTARTS") if wide else ()))
    print_table((*header, "MESSAGE"), (_node_row(node, wide=wide) for node in nodes))
    if objects:
        click.echo()
        print_table(("OBJECT", "CONDITION", "REASON", "MESSAGE"), map(_object_row, objects))
    for text in facts.missing:
        print_problem(f"not shown, because this user may not read it: {text}", warning=True)


def _operator_row(state: OperatorState) -> tuple[str, ...]:
    leads = "?" if state.leading is None else "yes" if state.leading else "no"
    return state.pod, _yes(state.ready), leads, _number(state.streams), state.message


def _node_row(state: NodeState, *, wide: bool) -> tuple[str, ...]:
    more = (state.agent or "-", state.version or "?", str(state.restarts)) if wide else ()
    agent = "none" if not state.agent else "ready" if state.ready else "not ready"
    pods = f"{_number(state.captured)}/{state.members}" if state.agent else f"-/{state.members}"
    return state.node, agent, pods, _number(state.generation), _certificates(state), *more, state.message


def _certificates(state: NodeState) -> str:
    if state.certificates is None:
        return "?"
    if state.next_expiry_unix_s is None:
        return str(state.certificates)
    left_s = state.next_expiry_unix_s - time.time()
    return f"{state.certificates}, next ends in {_span(left_s)}" if left_s > 0 else f"{state.certificates}, EXPIRED"


def _span(seconds: float) -> str:
    for unit, size_s in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size_s:
            return f"{seconds / size_s:.0f}{unit}"
    return f"{seconds:.0f}s"


def _object_row(state: ObjectState) -> tuple[str, ...]:
    name = f"{state.namespace}/{state.name}" if state.namespace else state.name
    return f"{state.kind} {name}", state.condition, state.reason, state.message


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def _number(value: int | None) -> str:
    return "?" if value is None else str(value)
