"""What the webhooks ask of the cluster: warnings about what an object refers to."""

from collections.abc import Callable, Sequence

from weft_contract.objects import Object
from weft_contract.problems import Problem
from weft_operator.compile import ClusterView
from weft_operator.compile.surroundings import surrounding_problems


class Neighbours:
    """`Surroundings` out of the compiler's view.

    Args:
        view: all objects as they are now.
    """

    def __init__(self, view: Callable[[], ClusterView]) -> None:
        self._view = view

    def warnings(self, item: Object) -> Sequence[Problem]:
        """Return what an object that is right in itself should be told all the same."""
        return surrounding_problems(self._view(), item)
