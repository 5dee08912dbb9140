"""State of endpoints outlives snapshots, and does not outlive the endpoint."""

from weft_contract.resources import Endpoint
from weft_core.balance import EndpointState, States, forget_gone, state_of

ONE = Endpoint(address="10.0.0.1", port=80)


def test_one_state_per_address_and_port_whatever_else_changes() -> None:
    states: States = {}
    state = state_of(states, ONE)
    again = Endpoint(address="10.0.0.1", port=80, ready=False, zone="b", identity="spiffe://a/ns/b/sa/c")
    assert state_of(states, again) is state
    assert state_of(states, Endpoint(address="10.0.0.1", port=81)) is not state


def test_requests_are_counted() -> None:
    state = EndpointState()
    state.started()
    state.started()
    state.finished()
    assert state.active == 1


def test_failures_are_counted_until_a_success() -> None:
    state = EndpointState()
    state.failed(5.0)
    state.failed(6.0)
    assert (state.failures, state.last_failure) == (2, 6.0)
    state.succeeded()
    assert state.failures == 0
    assert state.last_failure < 0


def test_what_is_gone_and_idle_is_forgotten() -> None:
    states: States = {}
    living, idle, busy = (Endpoint(address=f"10.0.0.{number}", port=80) for number in range(3))
    for item in (living, idle, busy):
        state_of(states, item)
    state_of(states, busy).started()
    assert forget_gone(states, {("10.0.0.0", 80)}) == 1
    assert set(states) == {("10.0.0.0", 80), ("10.0.0.2", 80)}
    state_of(states, busy).finished()
    assert forget_gone(states, {("10.0.0.0", 80)}) == 1
