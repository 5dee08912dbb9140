"""Capture of a pod's TCP: a pure plan of rules, two ways to put it into a namespace, and the eye that sees it change.

Belongs here: `plan` (pure), `kernel` (what netlink, sockopts and /proc say), `backends` (apply, verify, repair, remove),
`namespaces`, `sockets`. Everything is synchronous and enters a namespace in a thread of its own: call it from worker threads.
Does not belong here: trio, a decision about traffic, a pod (namespaces come as paths, captures as contract values).
Import from the rooms; this door stays shut so that a caller of `sockets` does not load pyroute2.
"""
