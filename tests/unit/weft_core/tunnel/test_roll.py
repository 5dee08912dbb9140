"""Ids: which may be opened, which are idle, which closed ones are forgiven."""

from weft_contract.limits import Limits
from weft_core.tunnel.outlet import Outlet
from weft_core.tunnel.roll import LARGEST_ID, StreamRoll
from weft_core.tunnel.stream import TunnelStream
from weft_testing.tunnel_wire import RawPeer


def stream(stream_id: int) -> TunnelStream:
    engine = RawPeer(client=True).connection._engine
    outlet = Outlet(Limits(), lambda: None)
    return TunnelStream(engine, outlet, stream_id, window=1, size=1, credit=1)


def test_a_server_takes_odd_ids_that_rise() -> None:
    roll = StreamRoll(client=False, remembered=10)
    assert roll.may_open(1)
    roll.last_peer_id = 5
    assert [stream_id for stream_id in range(1, 10) if roll.may_open(stream_id)] == [7, 9]
    assert [stream_id for stream_id in range(1, 10) if roll.idle(stream_id)] == [2, 4, 6, 7, 8, 9]


def test_a_client_gives_out_odd_ids_and_takes_none() -> None:
    roll = StreamRoll(client=True, remembered=10)
    assert [roll.next_id() for _ in range(3)] == [1, 3, 5]
    assert not any(roll.may_open(stream_id) for stream_id in range(20))
    assert [stream_id for stream_id in range(1, 10) if roll.idle(stream_id)] == [2, 4, 6, 7, 8, 9]


def test_ids_run_out() -> None:
    roll = StreamRoll(client=True, remembered=10)
    roll._next_id = LARGEST_ID
    assert not roll.exhausted
    assert roll.next_id() == LARGEST_ID
    assert roll.exhausted


def test_reset_ids_are_forgiven_and_the_memory_is_bounded_mildly() -> None:
    roll = StreamRoll(client=False, remembered=3)
    roll.last_peer_id = 99
    for stream_id in (11, 13, 15):
        roll.remember_reset(stream_id)
    assert [stream_id for stream_id in range(1, 30) if roll.forgiven(stream_id)] == [11, 13, 15]
    roll.remember_reset(17)
    forgiven = [stream_id for stream_id in range(1, 30) if roll.forgiven(stream_id)]
    assert forgiven == [*range(1, 12), 13, 15, 17], "what fell out of the memory is judged mildly"


def test_a_stream_leaves_once() -> None:
    roll = StreamRoll(client=False, remembered=3)
    first, second = stream(1), stream(1)
    roll.open[1] = first
    assert not roll.remove(second)
    assert roll.remove(first)
    assert not roll.remove(first)
