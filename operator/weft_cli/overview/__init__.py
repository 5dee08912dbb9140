"""`weft status` and `weft check` of a cluster: facts gathered once, and pure functions from them to what a person is told.

Belongs here: gathering (`facts`), the state of nodes and agents (`nodes`), objects that do not hold (`objects`), and the findings
of a check (`findings`).
Does not belong here: printing, which the commands do.
"""
