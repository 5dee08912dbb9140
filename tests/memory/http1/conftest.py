"""Nothing here is real but the session: the clock is trio's mock, the ends are in memory."""

import pytest
from trio.testing import MockClock


@pytest.fixture
def clock() -> MockClock:
    """A clock that stands until a test moves it."""
    return MockClock()
