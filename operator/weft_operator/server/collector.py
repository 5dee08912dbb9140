"""Python's cyclic garbage collector, told what need not be looked through: the cluster, once it is known.

Theory: a full collection walks every container, and a large cluster is some millions of them: 0.3-0.6 s during which neither the
compiler nor a stream moves. They are freed by their counts when an object changes; cycles among them are not made. So what is
there after the first round is put aside, and full collections look at what came since, with more of it between two of them.
"""

import gc
from typing import Final

THRESHOLDS: Final = (50_000, 20, 50)
"""Python's own are 700, 10, 10: a round of compiling would set off several."""


def settle() -> None:
    """Put aside everything that is there now; called once, when the cluster is known."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
