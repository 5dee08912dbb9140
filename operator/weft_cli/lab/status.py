"""`weft lab status`."""

import click
import msgspec

from weft_cli.exits import FINDINGS, OK
from weft_cli.lab.options import lab_errors, name_option
from weft_cli.output import end, print_problem, print_table
from weft_lab.client import Client


@click.command()
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="form of the output")
@name_option
@lab_errors
def status(output: str, name: str) -> None:
    """Show nodes, agents and pods of a lab, and every problem; ends with 1 if there is an error among them."""
    found = Client(name).status()
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        behind = found.revision - found.compiled_revision
        current = "current" if behind <= 0 else f"{behind} changes behind"
        click.echo(
            f"lab {found.name}: {found.ready_pods}/{found.pods} pods ready, configuration {current}, daemon {found.pid}"
        )
        print_table(
            ("NODE", "ADDRESSES", "PODS", "AGENT", "PID", "RESTARTS", "MESSAGE"),
            (
                (
                    node.name,
                    ",".join(node.addresses),
                    f"{node.ready_pods}/{node.pods}",
                    node.agent.state,
                    str(node.agent.pid or "-"),
                    str(node.agent.restarts),
                    node.agent.message,
                )
                for node in found.nodes
            ),
        )
        for problem in found.problems:
            print_problem(problem.text, warning=problem.warning)
    end(FINDINGS if any(not problem.warning for problem in found.problems) else OK)
