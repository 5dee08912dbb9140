"""The machine's side of a lab: network namespaces, directories, records, processes, and taking all of it away again.

Belongs here: small synchronous wrappers that act on this machine, each safe to call twice.
Does not belong here: when they are called (`weft_lab.daemon`) and what with (`weft_lab.plan`).
"""
