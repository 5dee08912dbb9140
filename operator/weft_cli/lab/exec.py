"""`weft lab exec`, `node-exec`, `logs`: this process becomes the program, so terminal, signals and status are its own."""

import json
import os
import shutil
import sys
from typing import NoReturn

import click

from weft_cli.exits import USAGE
from weft_cli.lab.options import lab_errors, name_option, namespace_option
from weft_cli.output import CommandError
from weft_lab.client import Client
from weft_lab.small_program import small_program


@click.command("exec")
@click.argument("pod", metavar="POD")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND…")
@click.option("-c", "--container", metavar="NAME", help="default: the pod's first container")
@click.option("-i", "--stdin", "stdin", is_flag=True, help="hand on standard input (a terminal always is)")
@click.option("-t", "--tty", "tty", is_flag=True, help="accepted as kubectl's; a terminal is handed on as it is")
@namespace_option
@name_option
@lab_errors
def exec_(
    pod: str, command: tuple[str, ...], container: str | None, stdin: bool, tty: bool, namespace: str, name: str
) -> None:
    """Run a command in a container and end with its status.

    POD is a pod's name, or a workload's as `deploy/web`: then one of its ready pods.
    """
    client = Client(name)
    found = client.find_pod(pod, namespace)
    order = client.join(found, container, command).order
    if tty and not os.isatty(0):
        click.echo("unable to use a TTY - input is not a terminal", err=True)
    _become("join_pod", order, hand_on_input=stdin or os.isatty(0))


@click.command("node-exec")
@click.argument("node", metavar="NODE")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND…")
@click.option("-i", "--stdin", "stdin", is_flag=True, help="hand on standard input (a terminal always is)")
@name_option
@lab_errors
def node_exec(node: str, command: tuple[str, ...], stdin: bool, name: str) -> None:
    """Run a command on a node: in its network namespace, with the /run of its agent, and this machine's files."""
    order = Client(name).enter(node, command).order
    _become("start_node", order, "-", hand_on_input=stdin or os.isatty(0))


@click.command()
@click.argument("pod", metavar="POD")
@click.option("-c", "--container", metavar="NAME", help="default: the pod's first container")
@click.option("-f", "--follow", is_flag=True, help="go on until the container ends")
@click.option("-p", "--previous", is_flag=True, help="of the run before")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="only the last lines")
@namespace_option
@name_option
@lab_errors
def logs(
    pod: str, container: str | None, follow: bool, previous: bool, tail: int | None, namespace: str, name: str
) -> None:
    """Show what a container wrote."""
    client = Client(name)
    found = client.logs(client.find_pod(pod, namespace), container, previous=previous)
    program = shutil.which("tail")
    if program is None:
        raise CommandError("`tail` is not installed")
    lines = f"+{1}" if tail is None else str(tail)
    following = ["--follow", f"--pid={found.pid}", "--sleep-interval=0.2"] if follow and found.pid else []
    sys.stdout.flush()
    os.execv(program, [program, f"--lines={lines}", *following, found.path])


def _become(module: str, order: dict[str, object], *arguments: str, hand_on_input: bool) -> NoReturn:
    """Replace this process by a small program, with its order in a memory file."""
    if os.geteuid() != 0:
        raise CommandError("entering a namespace needs root; try again with sudo", USAGE)
    descriptor = os.memfd_create("weft-lab-order", 0)
    os.write(descriptor, json.dumps(order).encode())
    os.lseek(descriptor, 0, os.SEEK_SET)
    if not hand_on_input:
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
    command = small_program(module, str(descriptor), *arguments)
    sys.stdout.flush()
    os.execve(command[0], command, {"LANG": "C.UTF-8"})
