"""The lab's daemon: one selector loop that owns all state, and threads for what blocks.

Belongs here: carrying out what `weft_lab.plan` decides, the API on a unix socket, agents, compiling, probes.
Does not belong here: deciding. Objects change on the loop's thread only, so nothing here needs a lock.
"""
