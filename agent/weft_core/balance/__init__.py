"""Which endpoint of a Service port takes the next request.

Belongs here: the algorithms, and the counters of endpoints they read.
Does not belong here: which Service (`weft_core.routing`), connections and pools, retries.
"""

from weft_core.balance.choose import pick
from weft_core.balance.state import FAILED_RECENTLY_S, EndpointKey, EndpointState, States, forget_gone, state_of

__all__ = ["FAILED_RECENTLY_S", "EndpointKey", "EndpointState", "States", "forget_gone", "pick", "state_of"]
