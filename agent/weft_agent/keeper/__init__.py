"""The keeper: the first process of an agent. It starts control, starts it again when it dies, and passes signals on.

Belongs here: that loop, and how this program starts its own processes. Standard library only, and as little of it as can
be: the keeper is the process that must still be there when memory is short.
Does not belong here: anything about traffic, pods or config (`weft_agent.control`).
"""
