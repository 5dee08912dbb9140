"""What the tests over loopback share."""

import pytest
from trio.testing import MockClock

from weft_testing.delivered_clock import delivered_clock


@pytest.fixture
def autojump_clock() -> MockClock:
    """A clock that jumps when nothing moves, real sockets included."""
    return delivered_clock()
