"""The entry point of `weft` and of `python -m weft_cli`: the group of all commands, and errors turned into statuses."""

import sys

import click

from weft_cli.exits import FINDINGS, INTERRUPTED
from weft_cli.lazy import HELP_WIDTH, LazyGroup
from weft_cli.output import CommandError

_COMMANDS = {
    "status": (
        "weft_cli.commands.status:status",
        "nodes, agents, captured pods, configuration and certificates of a cluster",
    ),
    "explain": ("weft_cli.commands.explain:explain", "what would become of a call, and which policy says so"),
    "check": ("weft_cli.commands.check:check", "say everything that is wrong with a cluster, or with YAML files"),
    "install": ("weft_cli.commands.install:install", "print what helm would apply"),
    "compile": ("weft_cli.commands.compile:compile_", "turn YAML files into the documents that agents read"),
    "ca": ("weft_cli.commands.ca:ca", "a certificate authority in a directory, for development"),
    "lab": ("weft_cli.lab.group:lab", "the mesh on this machine: nodes and pods as network namespaces"),
    "limits": ("weft_cli.commands.limits:limits", "every limit and timeout of the data plane, with its reason"),
    "version": ("weft_cli.commands.version:version", "print the version"),
}


@click.group(
    cls=LazyGroup,
    entries=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": HELP_WIDTH},
)
def weft() -> None:
    """Weft, a service mesh without sidecars.

    Exit statuses: 0 in order, 1 something was found or failed, 2 wrong usage, 3 nobody to talk to.
    """


def main() -> None:
    """Run `weft` and end the process with its status."""
    try:
        weft(prog_name="weft", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(INTERRUPTED)
    except CommandError as exc:
        exc.show()
        sys.exit(exc.status)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except BrokenPipeError:
        # whoever read our output has enough; nothing may be written on the way out
        sys.stdout = None
        sys.exit(FINDINGS)


if __name__ == "__main__":
    main()
