"""One captured world for each way of writing rules, shared by the tests that change nothing in it."""

from collections.abc import Iterator

import pytest

from weft_iptables.backends import BackendName
from weft_testing.capture_world import Agent, CaptureWorld
from weft_testing.netns import Family, pytest_exception_interact, require_netns

__all__ = ["pytest_exception_interact"]

BACKENDS: tuple[BackendName, ...] = ("nft", "iptables-nft", "iptables-legacy")
_ran: dict[str, int] = {}


@pytest.fixture(scope="session", autouse=True)
def _needs() -> None:
    require_netns("nft", "ipset", "iptables-nft-restore", "iptables-legacy-restore", "ip6tables-nft-restore")


@pytest.fixture(params=BACKENDS, scope="module")
def backend(request: pytest.FixtureRequest) -> BackendName:
    name: BackendName = request.param
    return name


@pytest.fixture(params=(4, 6), ids=("v4", "v6"))
def family(request: pytest.FixtureRequest) -> Family:
    number: Family = request.param
    return number


@pytest.fixture(scope="module")
def shared(backend: BackendName) -> Iterator[CaptureWorld]:
    """Both pods captured with the usual exclusions and served; tests leave it as they found it."""
    with CaptureWorld(backend) as world:
        world.capture(world.a)
        world.capture(world.b)
        world.start_agent()
        yield world


@pytest.fixture
def agent(shared: CaptureWorld) -> Agent:
    """The shared world's agent, with nothing said yet."""
    assert shared.agent is not None
    shared.agent.drain()
    return shared.agent


@pytest.fixture
def own(backend: BackendName) -> Iterator[CaptureWorld]:
    """A world of the test's own, nothing captured."""
    with CaptureWorld(backend) as world:
        yield world


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and "netns/capture" in report.nodeid:
        _ran[report.outcome] = _ran.get(report.outcome, 0) + 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"capture in namespaces: {sum(_ran.values())} tests ran ({_ran})")
