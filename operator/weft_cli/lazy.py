"""A click group that imports a subcommand only when it is called, so that `weft --help` is fast."""

import importlib
from typing import Final

import click

HELP_WIDTH: Final = 110


class LazyGroup(click.Group):
    """A group whose commands are named by `module:attribute` with their one line of help."""

    def __init__(self, *args: object, entries: dict[str, tuple[str, str]] | None = None, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # arguments of click itself, passed on unseen
        self._entries = entries or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, in the order they were given."""
        return list(self._entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        entry = self._entries.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry[0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry[0]} is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._entries.items()])
