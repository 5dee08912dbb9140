"""`weft lab get`."""

import time

import click
import msgspec

from weft_cli.exits import FINDINGS, OK
from weft_cli.lab.options import lab_errors, labels, name_option, namespace_option
from weft_cli.lab.references import ENDPOINTS, references
from weft_cli.lab.tables import table
from weft_cli.output import end, print_problem, print_table
from weft_lab.client import Client, LabRequestError
from weft_lab.model import kind_for
from weft_lab.protocol import Objects, Reference


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="KIND [NAME…] | KIND/NAME…")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "json", "yaml", "name"]),
    default="table",
    help="form of the output",
)
@click.option("-A", "--all-namespaces", is_flag=True)
@click.option("-l", "--selector", metavar="KEY=VALUE,…", help="objects with these labels")
@namespace_option
@name_option
@lab_errors
def get(
    words: tuple[str, ...], output: str, all_namespaces: bool, selector: str | None, namespace: str, name: str
) -> None:
    """Show objects, as kubectl does: `get pods`, `get svc,endpoints -A`, `get pod/web-0 -o json`."""
    client = Client(name)
    where = None if all_namespaces else namespace
    status = OK
    found: list[tuple[Reference, Objects]] = []
    for reference in references(words, where, labels(selector)):
        try:
            found.append((reference, client.get(reference)))
        except LabRequestError as exc:
            if not exc.missing:
                raise
            print_problem(str(exc), warning=False)
            status = FINDINGS
    if output in {"json", "yaml"}:
        if found:
            _print_documents(found, output, single=len(words) == 2 or "/" in words[0])
    elif output == "name":
        _print_names(found)
    else:
        _print_tables(found, wide=output == "wide", where=where)
    end(status)


def _print_documents(found: list[tuple[Reference, Objects]], output: str, *, single: bool) -> None:
    items = [item for _, objects in found for item in objects.items]
    whole: object = {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items}
    if single and len(items) == 1:
        whole = items[0]
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(whole), indent=4).decode())
    else:
        import yaml

        click.echo(yaml.safe_dump(whole, sort_keys=False, allow_unicode=True), nl=False)


def _print_names(found: list[tuple[Reference, Objects]]) -> None:
    for _, objects in found:
        kind = kind_for(objects.kind)
        for item in objects.items:
            metadata = item.get("metadata")
            if kind is not None and isinstance(metadata, dict):
                click.echo(kind.resource(str(metadata.get("name"))))


def _print_tables(found: list[tuple[Reference, Objects]], *, wide: bool, where: str | None) -> None:
    groups: dict[str, list[dict[str, object]]] = {}
    for reference, objects in found:
        kind = "endpoints" if reference.kind.lower() in ENDPOINTS else objects.kind
        groups.setdefault(kind, []).extend(objects.items)
    if not any(groups.values()):
        if found:
            click.echo(f"No resources found{f' in {where} namespace' if where else ''}.", err=True)
        return
    first = True
    for kind, items in groups.items():
        if items:
            if not first:
                click.echo()
            first = False
            known = kind_for(kind)
            namespaced = where is None and (known is None or known.namespaced)
            shown = table(kind, items, wide=wide, namespaces=namespaced, now_unix_s=time.time())
            print_table(shown.header, shown.rows)
