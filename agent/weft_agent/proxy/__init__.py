"""The data path of a worker: from an accepted connection to its last byte, both directions, both transports.

Belongs here: what happens to a captured connection and in which order (who is it, what does it speak, may it, where to),
sessions and relays on the reactor's ends, tunnels, counting and logging of what passed.
Does not belong here: deciding (that is `weft_core`; here decisions are asked for and obeyed), rules, Kubernetes, files.
Document: docs/architecture.md, "Life of a connection".
"""
