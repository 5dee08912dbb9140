"""Printing: problems, tables, colour only on a terminal."""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NoReturn

import click

from weft_cli.exits import FINDINGS

if TYPE_CHECKING:
    from weft_contract.problems import Problem


class CommandError(click.ClickException):
    """A failure that is told in one sentence; `status` is the exit status."""

    def __init__(self, message: str, status: int = FINDINGS) -> None:
        super().__init__(message)
        self.status = status

    def show(self, file: object = None) -> None:
        """Print it as `error: …`."""
        click.echo(f"{click.style('error', fg='red', bold=True)}: {self.message}", err=True, color=coloured(sys.stderr))


def coloured(stream: object) -> bool:
    """Tell whether a stream is a terminal that wants colour (https://no-color.org)."""
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty()) and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def print_problems(problems: Iterable["Problem"]) -> None:
    """Print problems on standard error, one per line."""
    for problem in problems:
        print_problem(str(problem), warning=problem.warning)


def print_problem(text: str, *, warning: bool) -> None:
    """Print one problem on standard error."""
    word = click.style("warning", fg="yellow") if warning else click.style("error", fg="red", bold=True)
    click.echo(f"{word}: {text}", err=True, color=coloured(sys.stderr))


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows in columns as kubectl does: three spaces between, nothing behind the last."""
    table = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    for row in table:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        click.echo("   ".join([*cells, row[-1]]).rstrip())


def print_document(document: object, form: str) -> None:
    """Print plain values as `json` or `yaml`."""
    if form == "json":
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(document)).decode())
    else:
        import yaml

        click.echo(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), nl=False)


def end(status: int) -> NoReturn:
    """End the command with an exit status."""
    raise SystemExit(status)
