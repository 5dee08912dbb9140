"""The `weft` command: small, lazy subcommands over the contract, the compiler, the certificate authority and the lab.

Belongs here: reading a command line, calling one function, printing what it returned.
Does not belong here: any decision; whatever a test of a mesh might want without a terminal lives behind this package.
"""
