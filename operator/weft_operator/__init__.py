"""The control plane: what users wrote becomes what each node enforces, and every node can prove who its pods are.

Belongs here: `compile` (pure: objects in, node documents out), and the asyncio shell around it: `ca`, distribution of
documents, controllers, webhooks, dashboard.
Does not belong here: anything of the data plane. The two planes meet in encoded resources, never in imports.
"""
