"""The demonstration: a mesh of two nodes, looked at from its pods and from the wire, with a table of what was measured.

Belongs here: the scene (YAML), the calls, the packet capture, the checks and their table. Everything is done as a user does it,
through `weft lab`.
Does not belong here: anything that a user could not do.
"""

from weft_lab.demonstration.show import demonstrate

__all__ = ["demonstrate"]
