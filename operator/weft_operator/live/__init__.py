"""The live compiler: the cluster as it changes becomes differences of what each node holds.

Belongs here: the engine and its stages, what lies on which shelf, differences. Pure.
Does not belong here: where objects come from and the loop that feeds the engine (`reflect`), who is told (`distribution`),
and the meaning of any object, which is `compile`'s: after every round the result equals `compile_cluster` of the same objects.
"""

from weft_operator.live.delta import ALWAYS, EVERYBODY, Delta, Item, Shelf, namespace_shelf, node_shelf
from weft_operator.live.engine import Engine

__all__ = ["ALWAYS", "EVERYBODY", "Delta", "Engine", "Item", "Shelf", "namespace_shelf", "node_shelf"]
