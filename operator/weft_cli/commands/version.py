"""`weft version`."""

from importlib import metadata

import click


@click.command()
def version() -> None:
    """Print the version."""
    try:
        found = metadata.version("weft")
    except metadata.PackageNotFoundError:
        found = "unknown (not installed, running from a checkout)"
    click.echo(f"weft {found}")
