"""The mesh on one machine: ordinary Kubernetes YAML, run without Kubernetes, in network namespaces.

Belongs here: what a small cluster has around a mesh. Objects and their controllers, a scheduler, pods with their probes,
Service addresses, names, and one agent per node started as users start it. Plain synchronous code: threads, processes
and one selector loop. Does not belong here: what the mesh itself decides (`weft_core`), how objects become resources
(`weft_operator.compile`), and the text that people read on a terminal (`weft_cli`).
"""
