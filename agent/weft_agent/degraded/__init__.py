"""What the agent does about endpoints while no operator can be reached: it asks the API server itself.

Belongs here: when that begins and ends (`mode`), following the EndpointSlices of held Services (`slice_watch`), and what becomes
of the held endpoints (`overlay`, pure).
Does not belong here: anything that changes what the operator said: the overlay lies on what workers are told, and is never kept.
"""

from weft_agent.degraded.mode import DegradedEndpoints

__all__ = ["DegradedEndpoints"]
