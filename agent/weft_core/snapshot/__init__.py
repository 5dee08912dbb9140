"""What one generation of configuration means, and how the next one is made from changes.

Belongs here: putting the tables of policy, routing and services together, the law of the last good version, and
what an original destination means.
Does not belong here: any decision (they are the rooms'), where resources come from, when a snapshot is swapped in.
"""

from weft_core.snapshot.builder import Refusals, SnapshotBuilder
from weft_core.snapshot.destination import Destination, Outside, ToPod, ToService, classify
from weft_core.snapshot.table import Snapshot, WorkloadTable

__all__ = [
    "Destination",
    "Outside",
    "Refusals",
    "Snapshot",
    "SnapshotBuilder",
    "ToPod",
    "ToService",
    "WorkloadTable",
    "classify",
]
