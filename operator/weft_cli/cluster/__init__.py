"""A Kubernetes cluster as the command line sees it: one blocking client, the objects the compiler reads, the agents' metrics.

Belongs here: requests (`session`), options that all cluster commands have (`options`), lists of objects as documents
(`objects`), metrics through the API server's pod proxy (`metrics`).
Does not belong here: what a command makes of them; how credentials are found (`weft_operator.access`).
"""
