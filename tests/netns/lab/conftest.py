"""Labs for tests: one without agents and one with, each for all tests of a session that change nothing in the lab itself."""

import os
from collections.abc import Iterator

import pytest

from weft_lab import lifecycle
from weft_testing.lab import LiveLab, python_path, traces
from weft_testing.netns import require_netns

NAME = f"t{os.getpid()}"


@pytest.fixture(scope="session", autouse=True)
def _needs() -> None:
    require_netns("nft", "nsenter", "mount")


@pytest.fixture(scope="session", autouse=True)
def _processes_find_our_packages() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", python_path())
        yield


@pytest.fixture(scope="session")
def plain(_needs: None, _processes_find_our_packages: None) -> Iterator[LiveLab]:
    """A lab of two nodes without agents."""
    yield from _lab(f"{NAME}-plain", agent=False)


@pytest.fixture(scope="session")
def mesh(_needs: None, _processes_find_our_packages: None) -> Iterator[LiveLab]:
    """A lab of two nodes with agents."""
    yield from _lab(f"{NAME}-mesh", agent=True)


def _lab(name: str, *, agent: bool) -> Iterator[LiveLab]:
    lifecycle.up(name, 2, agent=agent)
    try:
        yield LiveLab(name)
    finally:
        lifecycle.down(name)
    assert traces(name) == []


@pytest.fixture
def name() -> Iterator[str]:
    """A name for a lab that the test brings up itself; whatever is left of it is taken away."""
    yield f"{NAME}-own"
    lifecycle.down(f"{NAME}-own")


@pytest.fixture
def namespace(plain: LiveLab, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own in the plain lab."""
    made = "".join(c if c.isalnum() else "-" for c in request.node.name.lower())[:50].strip("-")
    plain.apply(f"{{apiVersion: v1, kind: Namespace, metadata: {{name: {made}}}}}")
    yield made
    plain.ok("delete", "namespace", made, "--grace-period", "0", "--no-wait")
