"""`weft lab up`, `down`, `list`."""

import click

from weft_cli.duration import Duration
from weft_cli.exits import OK
from weft_cli.files import read_texts
from weft_cli.lab.options import lab_errors, name_option
from weft_cli.output import end, print_table


@click.command()
@click.option(
    "-f", "--filename", "places", multiple=True, metavar="FILE|DIR|-", help="YAML to apply; may be given again"
)
@click.option("--nodes", default=2, show_default=True, metavar="N", help="how many nodes")
@click.option("--agent/--no-agent", default=True, help="run the mesh's agent on every node")
@click.option("--wait", "waiting", is_flag=True, help="wait until everything is ready")
@click.option("--timeout", type=Duration(), default=60.0, metavar="TIME", help="for --wait (default 60s)")
@name_option
@lab_errors
def up(places: tuple[str, ...], nodes: int, agent: bool, waiting: bool, timeout: float, name: str) -> None:
    """Bring a lab up, and apply YAML files to it.

    With errors in the files the lab stays up, for `weft lab apply -f` to try again.
    """
    from weft_cli.lab.applying import apply_files
    from weft_cli.lab.wait import wait_for_all
    from weft_lab import lifecycle
    from weft_lab.client import Client

    if places:
        read_texts([place for place in places if place != "-"])  # a mistyped path must not leave a lab behind
    lifecycle.up(name, nodes, agent=agent)
    click.echo(f"lab {name} is up: {nodes} node{'s' if nodes != 1 else ''}, {'with' if agent else 'without'} agents")
    status = apply_files(Client(name), places, "default") if places else OK
    if waiting:
        wait_for_all(Client(name), None, timeout)
    end(status)


@click.command()
@click.option("--all", "everything", is_flag=True, help="all labs of this machine")
@name_option
@lab_errors
def down(everything: bool, name: str) -> None:
    """Take a lab away, whatever state it is in: nothing of it is left, also after a crash."""
    from weft_lab import lifecycle

    for lab in lifecycle.labs() if everything else [name]:
        gone = lifecycle.down(lab)
        click.echo(f"lab {lab} is down" if gone else f"there is no lab {lab}")


@click.command("list")
@lab_errors
def list_() -> None:
    """Show the labs on this machine."""
    from weft_lab import lifecycle
    from weft_lab.machine.records import read_daemon, read_lab

    rows: list[tuple[str, ...]] = []
    for lab in lifecycle.labs():
        record, daemon = read_lab(lab), read_daemon(lab)
        state = "up" if daemon is not None and daemon.alive() else "dead"
        nodes = str(len(record.nodes)) if record is not None else "?"
        agents = "?" if record is None else ("yes" if record.agent else "no")
        rows.append((lab, state, nodes, agents, record.created if record is not None else "?"))
    if rows:
        print_table(("NAME", "STATE", "NODES", "AGENTS", "CREATED"), rows)
    else:
        click.echo("there is no lab on this machine", err=True)
