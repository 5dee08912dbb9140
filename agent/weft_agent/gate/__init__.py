"""The capture gate: the program that a pod of the mesh runs before all others, and that ends when the pod is captured.

Belongs here: the asking side, with the standard library and `weft_contract.gate` alone, because it starts in every pod.
Does not belong here: the answering side (`weft_agent.proxy.gate_door`); anything that needs a privilege, a file or a package.
"""
