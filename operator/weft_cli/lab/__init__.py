"""`weft lab …`: subcommands over `weft_lab.client` and `weft_lab.lifecycle`, with output as kubectl's."""
