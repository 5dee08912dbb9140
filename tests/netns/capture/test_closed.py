"""Nothing gets past: an agent that is down, sockets in TIME_WAIT, SYN cookies, a family that cannot be captured."""

import threading
from collections.abc import Callable, Iterator

import pytest

from weft_contract.resources import Capture
from weft_iptables.backends import Families
from weft_testing.capture_world import (
    BOUND_PORT,
    CLOSED_PORT,
    EXCLUDED_IN,
    EXCLUDED_OUT,
    PORT,
    SHORT_S,
    VIP_B,
    WAIT_S,
    Agent,
    CaptureWorld,
    call,
    dial,
    greeting,
)
from weft_testing.netns import Family

pytestmark = pytest.mark.netns


@pytest.fixture
def cookies(shared: CaptureWorld) -> Iterator[None]:
    """Answer every SYN with a cookie, in both pods."""
    for pod in (shared.a, shared.b):
        pod.shell("echo 2 > /proc/sys/net/ipv4/tcp_syncookies")
    yield
    for pod in (shared.a, shared.b):
        pod.shell("echo 1 > /proc/sys/net/ipv4/tcp_syncookies")


@pytest.mark.usefixtures("cookies")
def test_a_cookie_does_not_open_the_application_to_a_stranger(
    shared: CaptureWorld, agent: Agent, family: Family
) -> None:
    """The last segment of a cookie handshake belongs to no socket; only the agent's listener may take it."""
    for port in (PORT, BOUND_PORT):
        call(shared.a, shared.b.address(family), port)  # now the application's own listener takes cookies, too
        agent.drain()
        with dial(shared.node, shared.b.address(family), port, source=("", EXCLUDED_OUT)) as connection:
            seen = greeting(connection)
        assert agent.expect(direction="inbound")["peer"][1] == EXCLUDED_OUT
        assert seen["peer"][1] != EXCLUDED_OUT, "the application talks to the agent, which chose another port"


@pytest.mark.parametrize("port", [PORT, BOUND_PORT])
def test_a_port_used_again_after_the_agent_closed_first_is_captured(
    shared: CaptureWorld, agent: Agent, family: Family, port: int
) -> None:
    """A SYN that meets the agent's socket in TIME_WAIT must not be handed to the application's listener."""
    address, source = shared.b.address(family), ("", 20_000 + port)
    for _ in range(3):
        with dial(shared.node, address, port, source=source) as connection:
            greeting(connection)
            shared.echoes["b"].hang_up()  # the application closes, so the agent does, before the client
            assert connection.recv(1) == b""
        inbound = agent.expect(direction="inbound")
        assert inbound["peer"][1] == source[1]
        assert f":{source[1]}" in shared.b.shell("ss -Htan state time-wait")


def test_the_last_ack_of_a_pod_that_closed_first_reaches_the_agent(
    shared: CaptureWorld, agent: Agent, family: Family
) -> None:
    """The kernel sends it from TIME_WAIT, without a socket of the pod's: with the mark of what it answers."""
    with dial(shared.a, VIP_B[family], 80) as connection:
        greeting(connection)
        port = connection.getsockname()[1]
        with agent.standing_still():
            connection.close()
            _until(lambda: f":{port}" in shared.a.shell("ss -Htan state fin-wait-2"))
    _until(lambda: f":{port}" in shared.a.shell("ss -Htan state time-wait"))
    _until(lambda: f":{port}" not in shared.a.shell("ss -Htan state last-ack"))


def test_the_application_does_not_answer_for_others_while_the_agent_is_down(own: CaptureWorld, family: Family) -> None:
    """A diverted packet comes back as a local one, for which a listener on any address would do."""
    own.capture(own.a, Capture())
    before = own.echoes["a"].accepted
    for target, port in ((VIP_B[family], 80), (own.b.address(family), PORT)):
        with pytest.raises(TimeoutError):
            dial(own.a, target, port, timeout_s=SHORT_S)
    assert own.echoes["a"].accepted == before
    assert call(own.a, own.a.address(family), PORT).echoed == 1000


def test_without_an_agent_nothing_passes_but_exclusions(own: CaptureWorld, family: Family) -> None:
    own.capture(own.b)
    for port in (PORT, BOUND_PORT, CLOSED_PORT):
        with pytest.raises(TimeoutError):
            dial(own.node, own.b.address(family), port, timeout_s=SHORT_S)
    assert call(own.node, own.b.address(family), EXCLUDED_IN).echoed == 1000
    counters = own.backends["b"].counters(own.plans["b"])
    assert counters["in", "dropped"].packets >= 3
    assert counters["in", "delivered"].packets == 0


def test_a_connection_made_while_the_agent_restarts_succeeds(own: CaptureWorld, family: Family) -> None:
    own.capture(own.a)
    own.capture(own.b)
    agent = own.start_agent()
    assert call(own.a, VIP_B[family], 80).echoed == 1000
    agent.kill()
    result: list[int] = []
    caller = threading.Thread(target=lambda: result.append(call(own.a, VIP_B[family], 80).echoed))
    caller.start()
    _until_dropped(own)
    assert call(own.node, own.b.address(family), EXCLUDED_IN).echoed == 1000
    own.start_agent()
    caller.join(WAIT_S)
    assert result == [1000]


def _until_dropped(own: CaptureWorld) -> None:
    """Wait until the kernel counted a SYN that met no agent."""
    _until(lambda: own.backends["a"].counters(own.plans["a"])["out", "dropped"].packets > 0)


def _until(condition: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(int(WAIT_S / 0.02)):
        if condition():
            return
        waiting.wait(0.02)
    raise AssertionError("it did not come true in time")


def test_a_family_that_is_switched_off_is_refused_when_it_comes_back(own: CaptureWorld) -> None:
    off, on = "net.ipv6.conf.lo.disable_ipv6", "net.ipv6.conf.all.disable_ipv6"
    own.b.shell(f"sysctl -qw {off}=1")
    backend = own.backends["b"]
    assert backend.survey() == Families(captured=(4,), refused=(6,))
    own.capture(own.b, Capture())
    own.b.shell(f"sysctl -qw {on}=0")
    for caller, target in ((own.node, own.b), (own.b, own.a)):
        with pytest.raises(TimeoutError):
            dial(caller, target.address(6), PORT, timeout_s=SHORT_S)
    counters = backend.counters(own.plans["b"])
    assert counters["in", "refused"].packets > 0
    assert counters["out", "refused"].packets > 0
    own.capture(own.b, Capture())
    assert own.plans["b"].captured == (4, 6)
    own.capture(own.a, Capture())
    own.start_agent()
    assert call(own.a, own.b.address(6), PORT).peer[0] == own.a.address(6)


def test_exclusions_that_cover_the_clients_leave_their_connections_captured(own: CaptureWorld, family: Family) -> None:
    """Replies of the application to a captured client are not traffic to an excluded network."""
    networks = ("10.0.0.0/8", "fd00::/8")
    own.capture(own.b, Capture(exclude_outbound_networks=networks))
    own.capture(own.a, Capture())
    agent = own.start_agent()
    for port in (PORT, BOUND_PORT):
        assert call(own.a, own.b.address(family), port).peer[0] == own.a.address(family)
        assert agent.expect(direction="inbound")["target"][1] == port
    with pytest.raises(OSError, match=r"reset|refused|closed"):
        call(own.a, own.b.address(family), CLOSED_PORT)
    assert agent.expect(direction="inbound")["error"].endswith("refused")
    assert call(own.b, own.a.address(family), PORT).peer[0] == own.b.address(family)
    assert [line["direction"] for line in agent.drain()] == ["inbound"]
