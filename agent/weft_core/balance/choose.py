"""Choice of an endpoint: least request by two choices, round robin or random; ready and healthy ones first.

Theory: least request compares two endpoints chosen at random and takes the less busy one. That is within a constant of
always knowing the least busy, needs no scan, and does not make all workers run for the same idle endpoint at once.

The first pair is drawn from all endpoints. Mostly both are usable and the comparison is all there is; only if both are not
does the slow path look for usable ones. Endpoints are usable in this order: ready and not failed lately, ready, then those
that terminate but still serve, again the not failed first.

Source: Mitzenmacher, "The power of two choices in randomized load balancing", 2001; Envoy's LEAST_REQUEST; Kubernetes
EndpointSlice conditions (`serving` while terminating is the last resort).
"""

from collections.abc import Collection, Sequence

from weft_contract.resources.service import Endpoint
from weft_core.balance.state import FAILED_RECENTLY_S, States, state_of


def pick(
    endpoints: Sequence[Endpoint],
    algorithm: str,
    states: States,
    rng_u32: int,
    exclude: Collection[Endpoint] = (),
    *,
    now: float,
    zone: str = "",
) -> Endpoint | None:
    """Choose an endpoint.

    Args:
        endpoints: all endpoints of the Service port.
        algorithm: `LEAST_REQUEST` (also for any unknown word), `ROUND_ROBIN` or `RANDOM`.
        states: what is known of endpoints; only round robin writes to it.
        rng_u32: uniform over 0 … 2^32 - 1.
        exclude: endpoints that were tried for this request and failed.
        now: monotonic seconds, the clock of `EndpointState.failed`.
        zone: prefer endpoints of this zone while one of them is as usable as any other; empty: no preference.

    Returns:
        The endpoint; None: there is none that was not tried already.
    """
    count = len(endpoints)
    if algorithm == "LEAST_REQUEST" and count > 1 and not exclude and not zone:
        found = _two_choices(endpoints, count, states, rng_u32, now - FAILED_RECENTLY_S)
        if found is not None:
            return found
    if count == 1 and algorithm != "ROUND_ROBIN":
        return None if endpoints[0] in exclude else endpoints[0]
    usable = _usable(endpoints, states, exclude, now - FAILED_RECENTLY_S, zone)
    if not usable:
        return None
    match algorithm:
        case "ROUND_ROBIN":
            return _in_turn(usable, states, rng_u32)
        case "RANDOM":
            return usable[rng_u32 * len(usable) >> 32]
        case _:
            return _less_busy(usable, states, rng_u32) if len(usable) > 1 else usable[0]


def _two_choices(
    endpoints: Sequence[Endpoint], count: int, states: States, rng_u32: int, failed_after: float
) -> Endpoint | None:
    """Compare two of all endpoints; None if neither is ready and healthy. The hot path: no calls, no lists."""
    first = (rng_u32 >> 16) * count >> 16
    second = (rng_u32 & 0xFFFF) * (count - 1) >> 16
    if second >= first:
        second += 1
    one = endpoints[first]
    other = endpoints[second]
    state = states.get((one.address, one.port))
    busy = 0 if state is None else state.active
    one_usable = one.ready and (state is None or state.last_failure <= failed_after)
    state = states.get((other.address, other.port))
    if other.ready and (state is None or state.last_failure <= failed_after):
        return one if one_usable and busy <= (0 if state is None else state.active) else other
    return one if one_usable else None


def _usable(
    endpoints: Sequence[Endpoint], states: States, exclude: Collection[Endpoint], failed_after: float, zone: str
) -> list[Endpoint]:
    """Return the most usable endpoints: the best tier that is not empty, of the zone if it has one there."""
    tiers: list[list[Endpoint]] = [[], [], [], []]
    for endpoint in endpoints:
        if endpoint in exclude:
            continue
        state = states.get((endpoint.address, endpoint.port))
        failed = state is not None and state.last_failure > failed_after
        tiers[(0 if endpoint.ready else 2) + (1 if failed else 0)].append(endpoint)
    best = next((tier for tier in tiers if tier), [])
    near = [endpoint for endpoint in best if endpoint.zone == zone] if zone else []
    return near or best


def _less_busy(usable: list[Endpoint], states: States, rng_u32: int) -> Endpoint:
    first = (rng_u32 >> 16) * len(usable) >> 16
    second = (rng_u32 & 0xFFFF) * (len(usable) - 1) >> 16
    one = usable[first]
    other = usable[second + 1 if second >= first else second]
    return one if _active(states, one) <= _active(states, other) else other


def _active(states: States, endpoint: Endpoint) -> int:
    state = states.get((endpoint.address, endpoint.port))
    return 0 if state is None else state.active


def _in_turn(usable: list[Endpoint], states: States, rng_u32: int) -> Endpoint:
    """Take the one whose last turn is longest ago; new ones begin at a random place, so workers do not march in step."""
    turns = [state_of(states, endpoint).turn for endpoint in usable]
    start = rng_u32 * len(usable) >> 32
    chosen = usable[min(range(len(usable)), key=lambda index: (turns[index], (index - start) % len(usable)))]
    state_of(states, chosen).turn = max(turns) + 1
    return chosen
