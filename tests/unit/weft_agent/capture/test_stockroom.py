"""Sharing descriptors among pods."""

import resource

import pytest

from weft_agent.capture.stockroom import SMALLEST_BATCH, batch_size
from weft_agent.channel.messages import MAX_FDS


@pytest.mark.parametrize("pods", [0, 1, 10, 100, 1000, 100_000])
def test_a_batch_fits_a_message_and_the_share_of_a_pod(pods: int) -> None:
    batch = batch_size(pods)
    assert SMALLEST_BATCH <= batch <= MAX_FDS
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert batch == SMALLEST_BATCH or batch * 4 * max(1, pods) <= limit * 0.25
