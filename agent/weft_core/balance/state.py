"""What a worker knows of each endpoint from its own traffic: outlives snapshots, kept by the caller in one dictionary."""

from collections.abc import Container
from typing import Final, TypeAlias

from weft_contract.resources.service import Endpoint

EndpointKey: TypeAlias = tuple[str, int]
"""Address and port."""

FAILED_RECENTLY_S: Final = 1.0
"""After a failed connect an endpoint is avoided so long, if there is another: the time of one connect attempt
(`Limits.connect_timeout_s`); longer memory is outlier detection's business."""

_NEVER: Final = -1e18


class EndpointState:
    """Counters of one endpoint. The caller counts; the balancer only reads (and notes turns)."""

    __slots__ = ("active", "failures", "last_failure", "turn")

    def __init__(self) -> None:
        self.active = 0
        """Requests (or opaque connections) in flight."""
        self.failures = 0
        """Connect failures since the last success."""
        self.last_failure = _NEVER
        """When the last connect failed, in monotonic seconds."""
        self.turn = 0
        """When it was last picked in turn; only round robin counts turns."""

    def started(self) -> None:
        """Note that a request was sent there."""
        self.active += 1

    def finished(self) -> None:
        """Note that a request ended, however it did."""
        self.active -= 1

    def failed(self, now: float) -> None:
        """Note that a connection could not be made."""
        self.failures += 1
        self.last_failure = now

    def succeeded(self) -> None:
        """Note that a connection was made."""
        self.failures = 0
        self.last_failure = _NEVER


States: TypeAlias = dict[EndpointKey, EndpointState]


def state_of(states: States, endpoint: Endpoint) -> EndpointState:
    """Return the state of an endpoint, making it on first use."""
    key = (endpoint.address, endpoint.port)
    state = states.get(key)
    if state is None:
        state = states[key] = EndpointState()
    return state


def forget_gone(states: States, living: Container[EndpointKey]) -> int:
    """Drop states of endpoints that are gone and have nothing in flight.

    Args:
        states: changed in place.
        living: keys of all endpoints there are.

    Returns:
        How many were dropped.
    """
    gone = [key for key, state in states.items() if state.active <= 0 and key not in living]
    for key in gone:
        del states[key]
    return len(gone)
