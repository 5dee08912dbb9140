"""`weft explain`: what would become of a call, found out by the code that decides live traffic.

Belongs here: reading the question (`question`), pods for templates that have none (`imagine`), what every node would know
(`world`), the destination (`finding`), following the call (`journey`, `landing`), and printing it (`show`).
Does not belong here: any rule. Objects go through `weft_operator.compile`, requests through `weft_core`'s router and policy.
"""
