"""Subcommands of `weft`, one module each; the lab's are in `weft_cli.lab`."""
