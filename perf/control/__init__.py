"""How far the control plane carries: the operator's compiler and streams, and hundreds of simulated nodes over TLS.

Belongs here: the two processes that are measured against each other, and what is reported of them.
Does not belong here: any limit of correctness, which are tests' (`tests/unit/weft_operator/distribution`).
"""
