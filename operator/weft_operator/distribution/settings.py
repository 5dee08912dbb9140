"""Every default of the config streams, with its unit, its reason and where it comes from."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSettings:
    """Limits of the streams of one replica."""

    initial_syncs: int = 50
    """Nodes that are brought up to date at once; others wait. A first update of a large mesh is 5-10 MB, so that fifty bound
    what is on its way to some hundred MB (Istio: `PILOT_PUSH_THROTTLE` 100)."""
    admission_wait_s: float = 5.0
    """Seconds a new stream waits for its turn before it is sent away with `Retry-After`: below usual HTTP timeouts."""
    retry_after_s: float = 5.0
    """Seconds after which a node that was sent away comes again; agents add jitter."""
    hello_timeout_s: float = 10.0
    """Seconds from the upgrade to a whole Hello: 8 MiB at 7 Mbit/s."""
    send_timeout_s: float = 20.0
    """Seconds a peer may take nothing of a frame of at most 1 MiB (Envoy's and Istio's send timeout is 5 s; agents may be
    busy compiling what they were sent before)."""
    ack_timeout_s: float = 60.0
    """Seconds from the last part of an update to its Ack; a first update of 20 000 resources takes agents a few seconds."""
    heartbeat_s: float = 20.0
    """Seconds of silence before a ping; a peer that does not answer for half of it is gone (agents ping every 10 s too)."""
    recheck_s: float = 5.0
    """Seconds between looks whether the caller's pod still exists: a deleted pod's token outlives it by some 10 s."""
    shutdown_timeout_s: float = 5.0
    """Seconds that all streams together have to take their Goodbye: well within the grace of a pod, 30 s."""


DEFAULT_SETTINGS: Final = HubSettings()
