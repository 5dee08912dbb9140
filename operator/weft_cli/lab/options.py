"""Options that many commands of `weft lab` take, and errors of the lab as errors of the command."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click

from weft_cli.exits import UNREACHABLE, USAGE
from weft_cli.output import CommandError
from weft_lab.addressing import AddressesExhaustedError
from weft_lab.client import LabRequestError, UnreachableError
from weft_lab.lifecycle import LabError
from weft_lab.machine.namespaces import MachineError
from weft_lab.names import DEFAULT_LAB, LabNameError

P = ParamSpec("P")
R = TypeVar("R")

name_option = click.option(
    "--name", envvar="WEFT_LAB", default=DEFAULT_LAB, show_default=True, metavar="NAME", help="name of the lab"
)
namespace_option = click.option(
    "-n", "--namespace", default="default", show_default=True, metavar="NAMESPACE", help="namespace of the objects"
)


def labels(text: str | None) -> dict[str, str]:
    """Read `-l key=value,key=value`.

    Raises:
        CommandError: it is of another form.
    """
    found: dict[str, str] = {}
    for part in (text or "").split(","):
        key, equals, value = part.strip().partition("=")
        if part.strip():
            if not equals or not key or key.endswith("!"):
                raise CommandError(f"selector {part!r} must be of the form key=value", USAGE)
            found[key] = value.removeprefix("=")
    return found


def lab_errors(function: Callable[P, R]) -> Callable[P, R]:
    """Turn errors of the lab into errors of the command, each with its exit status."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except UnreachableError as exc:
            raise CommandError(str(exc), UNREACHABLE) from exc
        except LabNameError as exc:
            raise CommandError(str(exc), USAGE) from exc
        except (LabRequestError, LabError, MachineError, AddressesExhaustedError) as exc:
            raise CommandError(str(exc)) from exc

    return guarded
