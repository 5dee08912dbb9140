"""What all tests share: hypothesis looks for the same examples in every run of CI, and never judges by the clock.

Timing a property test would measure the machine; searching anew in CI would fail a change for what it did not touch. Whoever
works on a part searches at random, since outside of CI nothing is derandomised.
"""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "weft",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("weft")
