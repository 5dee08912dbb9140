"""Which replica leads: one Lease, held by renewing it.

Belongs here: reading and writing the Lease (`record`), and the election (`elector`).
Does not belong here: what the leader does (`weft_operator.controllers`).
"""

from weft_operator.lease.elector import Elector
from weft_operator.lease.record import Record, lease_path

__all__ = ["Elector", "Record", "lease_path"]
