"""`weft lab demo`: the mesh shows itself and measures what it shows."""

from pathlib import Path

import click

from weft_cli.exits import FINDINGS, OK
from weft_cli.lab.options import lab_errors
from weft_cli.output import CommandError, end


@click.command()
@click.option("--keep", is_flag=True, help="leave the mesh running and say what to type next")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="write the checks to a file")
@click.option("--name", default="demo", show_default=True, metavar="NAME", help="name of the lab")
@lab_errors
def demo(keep: bool, json_file: Path | None, name: str) -> None:
    """Bring up two nodes with a mesh, show what it does, and measure it.

    Ends with a table of what was expected and what was measured; status 1 if they differ anywhere.
    """
    from weft_lab.demonstration import demonstrate
    from weft_lab.demonstration.stage import StageError
    from weft_lab.names import check_lab_name

    try:
        passed = demonstrate(check_lab_name(name), keep=keep, json_file=json_file)
    except StageError as exc:
        raise CommandError(str(exc)) from exc
    end(OK if passed else FINDINGS)
