"""`weft lab apply` and `delete`."""

import time

import click

from weft_cli.duration import Duration
from weft_cli.exits import FINDINGS, OK, USAGE
from weft_cli.lab.applying import apply_files, print_applied
from weft_cli.lab.options import lab_errors, labels, name_option, namespace_option
from weft_cli.lab.references import references
from weft_cli.lab.wait import wait_in_force
from weft_cli.output import CommandError, end
from weft_lab.client import Client
from weft_lab.protocol import Reference

_FILES_OPTION = click.option(
    "-f", "--filename", "places", multiple=True, metavar="FILE|DIR|-", help="may be given again"
)


@click.command()
@_FILES_OPTION
@click.option("--wait", "waiting", is_flag=True, help="wait until every agent enforces them")
@click.option("--timeout", type=Duration(), default=30.0, metavar="TIME", help="for --wait (default 30s)")
@namespace_option
@name_option
@lab_errors
def apply(places: tuple[str, ...], waiting: bool, timeout: float, namespace: str, name: str) -> None:
    """Make the lab have the objects of YAML files. What cannot be carried out is said, field by field."""
    if not places:
        raise CommandError("say what to apply: -f FILE, -f DIR or -f -", USAGE)
    client = Client(name)
    status = apply_files(client, places, namespace)
    if waiting:
        wait_in_force(client, client.status().revision, timeout)
    end(status)


@click.command()
@click.argument("words", nargs=-1, metavar="[KIND NAME… | KIND/NAME…]")
@_FILES_OPTION
@click.option("-l", "--selector", metavar="KEY=VALUE,…", help="objects with these labels")
@click.option("--all", "everything", is_flag=True, help="all objects of the kind in the namespace")
@click.option("--grace-period", type=Duration(), metavar="TIME", help="instead of the pods' own")
@click.option("--now", is_flag=True, help="a grace period of one second")
@click.option("--wait/--no-wait", "waiting", default=True, help="wait until they are gone (default)")
@click.option("--timeout", type=Duration(), default=60.0, metavar="TIME", help="for --wait (default 60s)")
@namespace_option
@name_option
@lab_errors
def delete(  # noqa: PLR0913  # one parameter for each option, as click wants it
    words: tuple[str, ...],
    places: tuple[str, ...],
    selector: str | None,
    everything: bool,
    grace_period: float | None,
    now: bool,
    waiting: bool,
    timeout: float,
    namespace: str,
    name: str,
) -> None:
    """Remove objects, by name or as files have them, and wait until they are gone."""
    client = Client(name)
    chosen = _from_files(places, namespace) if places else ()
    if words:
        chosen += references(words, namespace, labels(selector), needs_name=not (everything or selector))
    if not chosen:
        raise CommandError("say what to delete: KIND NAME, KIND/NAME or -f FILE", USAGE)
    grace_s = 1.0 if now else grace_period
    applied = client.delete(chosen, grace_s)
    status = print_applied(applied)
    if waiting:
        status = max(status, _wait_gone(client, chosen, timeout))
    end(status)


def _from_files(places: tuple[str, ...], namespace: str) -> tuple[Reference, ...]:
    from weft_cli.files import read_texts
    from weft_contract.objects import read_header
    from weft_lab.model import kind_for
    from weft_operator.compile import read_documents

    chosen: list[Reference] = []
    for document in read_documents(read_texts(places)).documents:
        header = read_header(document.body)
        kind = kind_for(header.kind)
        if kind is not None and header.name:
            metadata = document.body.get("metadata")
            given = metadata.get("namespace") if isinstance(metadata, dict) else None
            place = str(given) if given else namespace
            chosen.append(Reference(kind=kind.name, namespace=place if kind.namespaced else None, name=header.name))
    # what depends on others goes first, as in `kubectl delete -f`
    return tuple(reversed(chosen))


def _wait_gone(client: Client, chosen: tuple[Reference, ...], timeout_s: float) -> int:
    from weft_lab.client import LabRequestError

    deadline = time.monotonic() + timeout_s
    for reference in chosen:
        while True:
            try:
                found = client.get(reference)
            except LabRequestError as exc:
                if exc.missing:
                    break
                raise
            if not found.items:
                break
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                click.echo(f"timed out waiting for {reference.kind} {reference.name or ''} to go", err=True)
                return FINDINGS
            client.watch(found.revision, left_s)
    return OK
