"""All captures together, without namespaces: pods that are not there, and the end."""

from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from weft_agent.capture.captures import Captures, Means
from weft_agent.capture.namespaces import PodAbsentError
from weft_agent.control.state_directory import StateDirectory
from weft_contract.resources import Workload
from weft_testing.node_resources import workload
from weft_testing.reactor import until


class Anything:
    """Stands for what is only told: takes every call."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


class Nowhere:
    """Finds no pod."""

    def __init__(self) -> None:
        self.asked = 0

    def open(self, workload: Workload) -> Any:
        self.asked += 1
        raise PodAbsentError(f"{workload.name} is not here")


@pytest.mark.trio
async def test_captures_that_are_cancelled_end_and_join_no_pod_again(tmp_path: Path) -> None:
    anything: Any = Anything()
    finder: Any = Nowhere()
    means = Means(finder=finder, backend="nft", proc_roots=(), patience_s=0.0)
    captures = Captures(anything, means, StateDirectory(tmp_path / "state"), anything, anything)
    captures.want([workload("a"), workload("b")])
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(captures.run)
            await until(lambda: finder.asked >= 2)
            assert len(captures.pods) == 2
            nursery.cancel_scope.cancel()
    assert captures.pods == {}
