"""One lab with load's servers for all faults of a session; each fault leaves it whole."""

import os
from collections.abc import Iterator

import pytest

from weft_testing.faults.lab import FaultLab
from weft_testing.lab import python_path, traces
from weft_testing.netns import require_netns

NAME = f"t{os.getpid()}-faults"


@pytest.fixture(scope="session")
def lab() -> Iterator[FaultLab]:
    require_netns("nft", "nsenter", "mount", "ss")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", python_path())
        with FaultLab(NAME) as made:
            yield made
        assert traces(NAME) == []
