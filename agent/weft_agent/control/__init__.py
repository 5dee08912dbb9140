"""Control: the one privileged process of a node. It makes sockets, rules, keys and workers, and never sees a byte of traffic.

Belongs here: the life of workers, configuration, identities, health, admin, and the composition of it all (`main`).
Does not belong here: pods and their network namespaces (`weft_agent.capture`), connections (`weft_agent.worker`).
Blocking work runs in threads; nothing here may keep the trio loop from answering a health check for longer than a moment.
"""
