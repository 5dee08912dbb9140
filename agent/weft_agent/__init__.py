"""The agent of one node: a trio shell around `weft_core`. Control holds privilege, workers hold connections.

Belongs here: sockets, TLS, the reactor, the relays, processes, capture, telemetry, the config client.
Does not belong here: a decision (that is `weft_core`), a rule text (that is `weft_iptables`), asyncio.
Processes: `keeper` (pid 1, restarts control), `control` (root), `worker` (nobody, no capability, seccomp).
"""
