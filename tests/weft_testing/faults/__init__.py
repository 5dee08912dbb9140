"""Faults under load: a lab with two nodes, load in its pods, ways to break things, and what each fault may cost.

Belongs here: the scene, the lab as tests and `perf/faults.py` use it, one function per fault with its bars.
Does not belong here: the load driver itself (`weft_testing.load`), tests.
"""
