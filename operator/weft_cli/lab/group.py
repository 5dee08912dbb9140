"""The group `weft lab`."""

import click

from weft_cli.lazy import LazyGroup

_COMMANDS = {
    "up": ("weft_cli.lab.lifecycle:up", "bring a lab up, and apply YAML files to it"),
    "down": ("weft_cli.lab.lifecycle:down", "take a lab away, whatever state it is in"),
    "list": ("weft_cli.lab.lifecycle:list_", "the labs on this machine"),
    "status": ("weft_cli.lab.status:status", "nodes, agents, pods, problems"),
    "apply": ("weft_cli.lab.objects:apply", "make the lab have the objects of YAML files"),
    "delete": ("weft_cli.lab.objects:delete", "remove objects"),
    "get": ("weft_cli.lab.get:get", "show objects: pods, services, endpoints, nodes …"),
    "wait": ("weft_cli.lab.wait:wait", "wait until pods or workloads are ready, or gone"),
    "exec": ("weft_cli.lab.exec:exec_", "run a command in a container"),
    "logs": ("weft_cli.lab.exec:logs", "show what a container wrote"),
    "demo": ("weft_cli.lab.demo:demo", "two nodes, shown and measured"),
    "node-exec": ("weft_cli.lab.exec:node_exec", "run a command on a node"),
}


@click.group(cls=LazyGroup, entries=_COMMANDS)
def lab() -> None:
    """Run Kubernetes YAML on this machine: nodes and pods are network namespaces, the mesh is the real one. Needs root.

    Every command takes --name to choose a lab (or WEFT_LAB in the environment); without it the lab is called "default".
    """
