"""Applying files to a lab, and telling what came of it; shared by `up` and `apply`."""

import sys

import click

from weft_cli.exits import FINDINGS, OK
from weft_cli.files import read_texts
from weft_cli.output import coloured, print_problem, print_problems
from weft_lab.client import Client
from weft_lab.protocol import Applied, Source

_COLOURS = {"created": "green", "configured": "yellow", "deleted": "yellow", "refused": "red"}


def apply_files(client: Client, places: tuple[str, ...], namespace: str) -> int:
    """Apply all documents of files; a broken one does not keep the others out.

    Returns:
        The exit status.
    """
    from weft_operator.compile import read_documents

    parsed = read_documents(read_texts(places))
    print_problems(parsed.problems)
    broken = [problem for document in parsed.documents for problem in document.problems if not problem.warning]
    print_problems(broken)
    whole = tuple(
        Source(source=item.source, body=item.body)
        for item in parsed.documents
        if not any(not problem.warning for problem in item.problems)
    )
    applied = client.apply(whole, namespace)
    told = print_applied(applied)
    return FINDINGS if parsed.problems or broken else told


def print_applied(applied: Applied) -> int:
    """Print outcomes as kubectl does, and problems on standard error.

    Returns:
        The exit status.
    """
    for item in applied.outcomes:
        word = click.style(item.outcome, fg=_COLOURS.get(item.outcome))
        where = f" (namespace {item.namespace})" if item.namespace not in {"", "default"} else ""
        click.echo(f"{item.resource} {word}{where}", color=coloured(sys.stdout))
    for problem in applied.problems:
        print_problem(problem.text, warning=problem.warning)
    return FINDINGS if any(not problem.warning for problem in applied.problems) else OK
