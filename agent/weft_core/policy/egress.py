"""What may leave a pod: everything, for now; the destination's node decides about what arrives there.

Theory: enforcement happens at the destination, whatever path the traffic took (law 1), so nothing is asked at the source. The
permit is made here all the same, so that a policy of egress has one place to begin.
"""

from typing import Final

from weft_core.decision import Permit

_LEAVE: Final = Permit(rule="egress")


def leave() -> Permit:
    """Return the permit of a connection that leaves its pod."""
    return _LEAVE
