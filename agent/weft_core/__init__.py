"""Decisions and codecs without input or output: facts, config, `now` and `rng` in; decisions and bytes out.

Belongs here: parsers, the tunnel's framing, policy, routing, balancing, verification of identities. Everything is a
function or a small machine that can be tested byte by byte.
Does not belong here: a socket, a clock, a loop, a thread, a file, a log line. Import-linter holds that line.
Rooms do not know each other; what they share is in `facts`, `decision` and `errors`.
"""
