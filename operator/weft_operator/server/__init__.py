"""The running process: settings, logs, servers with their certificate, health, metrics, and the replica put together.

Belongs here: everything that makes one process of the parts (`replica` is the composition root), and nothing that they could
do without it.
Does not belong here: what the parts do. The room has no door: its modules are imported one by one, so that `--help` does not
wait for all of them.
"""
