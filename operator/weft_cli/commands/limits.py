"""`weft limits`: the table of `weft_contract.limits`."""

import click
import msgspec

from weft_cli.output import print_table
from weft_contract.limits import LimitInfo, describe


@click.command()
@click.argument("words", nargs=-1, metavar="[WORD]…")
@click.option(
    "-o", "--output", type=click.Choice(["table", "wide", "json"]), default="table", help="form of the output"
)
def limits(words: tuple[str, ...], output: str) -> None:
    """Show every limit and timeout of the data plane with its reason.

    WORDs choose the limits whose name contains one of them. Change one with `weft-agent run --limit NAME=VALUE`.
    """
    found = [item for item in describe() if not words or any(word in item.name for word in words)]
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
        return
    wide = output == "wide"
    header = ("NAME", "VALUE", "UNIT", "REASON", *(("SOURCE",) if wide else ()))
    print_table(header, (_row(item, wide=wide) for item in found))


def _row(item: LimitInfo, *, wide: bool) -> tuple[str, ...]:
    return (item.name, f"{item.value:g}" if item.value < 1e5 else f"{item.value:.0f}", item.unit, item.reason) + (
        (item.source,) if wide else ()
    )
