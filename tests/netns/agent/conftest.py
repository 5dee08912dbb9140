"""One node with two pods, and an agent in the node's namespace whose workers have the stand-in data plane."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from weft_testing.agent_process import until
from weft_testing.netns import pytest_exception_interact, require_netns
from weft_testing.served_node import ServedNode

__all__ = ["pytest_exception_interact"]


@pytest.fixture(scope="session", autouse=True)
def _needs() -> None:
    require_netns("nft")


class Keeper:
    """Keeps one node for many tests; a test that leaves it broken costs the next one a new node."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory
        self._node: ServedNode | None = None

    def lend(self) -> ServedNode:
        if self._node is None:
            node = ServedNode(self._factory.mktemp("node"))
            node.__enter__()
            self._node = node
        self._node.agent.mark()
        return self._node

    def take_back(self) -> None:
        try:
            assert self._node is not None
            assert self._node.agent.keeper.poll() is None
            self._node.configure()
            until(lambda: self._node and not self._node.agent.status()["pods"], "all pods are released")
            self._node.agent.until_ready()
        except (AssertionError, TimeoutError, KeyError):
            self.close()

    def close(self) -> None:
        if self._node is not None:
            self._node.__exit__(None, None, None)
            self._node = None


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeper]:
    made = Keeper(tmp_path_factory)
    yield made
    made.close()


@pytest.fixture
def node(keeper: Keeper) -> Iterator[ServedNode]:
    """A node with a running agent that captures nothing yet."""
    yield keeper.lend()
    keeper.take_back()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[ServedNode]:
    """The same for one test alone, which may leave nothing of it."""
    with ServedNode(tmp_path) as made:
        yield made
