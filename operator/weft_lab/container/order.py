"""Orders: what the daemon tells the small programs, as JSON in a memory file. Standard library only."""

import json
import os
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Bind:
    """A file or directory of this machine that appears in a container."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Program:
    """What is executed, and as whom."""

    arguments: tuple[str, ...]
    environment: dict[str, str]
    directory: str = "/"
    user: int = 0
    group: int = 0
    groups: tuple[int, ...] = ()
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    privileged: bool = False
    no_new_privileges: bool = False


@dataclass(frozen=True, slots=True)
class PodOrder:
    """Start a container."""

    namespace: str
    """Path of the network namespace."""
    hostname: str
    directory: str
    """Where its writable layer is kept; on a file system of its own, outside of the machine's root."""
    hosts: str
    """The pod's hosts file, which changes while the container runs."""
    resolv_conf: str
    """Content."""
    binds: tuple[Bind, ...]
    program: Program
    read_only_root: bool = False


@dataclass(frozen=True, slots=True)
class JoinOrder:
    """Run a program inside a container that runs."""

    pid: int
    started_ticks: int
    """Start time from /proc, so that a reused pid is noticed."""
    program: Program


@dataclass(frozen=True, slots=True)
class NodeOrder:
    """Run a program on a node: in its network namespace, with a /run of its own."""

    namespace: str
    run_directory: str
    """Becomes /run."""
    binds: tuple[Bind, ...]
    """Targets are relative to `run_directory`."""
    program: Program


def write_order(order: PodOrder | JoinOrder | NodeOrder) -> int:
    """Return a descriptor of a memory file that holds an order; the reader closes it."""
    descriptor = os.memfd_create("weft-lab-order", 0)
    os.write(descriptor, json.dumps(asdict(order)).encode())
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def read_order(descriptor: int, order_type: type[T]) -> T:
    """Return the order of a memory file and close it."""
    with os.fdopen(descriptor, "rb") as file:
        return _build(order_type, json.loads(file.read()))


def _build(order_type: type[T], plain: dict[str, Any]) -> T:
    """Make the dataclass; Any is the JSON codec's."""
    values = dict(plain)
    for field in fields(order_type):  # type: ignore[arg-type]  # only dataclasses are passed
        value = values[field.name]
        if field.name == "program":
            values["program"] = _build(Program, value)
        elif field.name == "binds":
            values["binds"] = tuple(_build(Bind, item) for item in value)
        elif isinstance(value, list):
            values[field.name] = tuple(value)
    return order_type(**values)
