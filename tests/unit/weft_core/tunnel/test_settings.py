"""SETTINGS: what we say, what we take, what we refuse."""

import struct

import pytest
from hyperframe.frame import Frame, SettingsFrame

from weft_contract.limits import KIB, MIB, Limits
from weft_core.tunnel.breach import ConnectionBreachError
from weft_core.tunnel.frames import ErrorCode
from weft_core.tunnel.settings import PeerSettings, own_max_frame, own_settings


def ours(limits: Limits, *, client: bool) -> dict[int, int]:
    data = own_settings(limits, client=client)
    frame, _ = Frame.parse_frame_header(memoryview(data[:9]))
    assert isinstance(frame, SettingsFrame)
    frame.parse_body(memoryview(data[9:]))
    return dict(frame.settings)


def peer(*pairs: tuple[int, int], client: bool = True) -> PeerSettings:
    settings = PeerSettings(client=client, max_streams=1000)
    settings.apply(memoryview(b"".join(struct.pack(">HI", *pair) for pair in pairs)))
    return settings


def refused(*pairs: tuple[int, int], client: bool = True) -> ErrorCode:
    with pytest.raises(ConnectionBreachError) as caught:
        peer(*pairs, client=client)
    return caught.value.code


def test_both_sides_have_no_table() -> None:
    common = {1: 0, 4: 256 * KIB, 5: 1 * MIB, 6: 64 * KIB}
    assert ours(Limits(), client=True) == {**common, 2: 0}
    assert ours(Limits(), client=False) == {**common, 3: 1000}


@pytest.mark.parametrize(
    ("limit", "said"), [(1, 16_384), (16_384, 16_384), (1 << 20, 1 << 20), (1 << 30, (1 << 24) - 1)]
)
def test_the_frame_size_stays_within_the_rfc(limit: int, said: int) -> None:
    assert own_max_frame(Limits(tunnel_frame_bytes=limit)) == said


def test_defaults_hold_until_told() -> None:
    settings = peer()
    assert (settings.window, settings.max_frame, settings.max_streams) == (65_535, 16_384, 1000)


def test_the_last_word_counts() -> None:
    settings = peer((4, 1), (4, 2), (3, 7), (5, 20_000), (6, 9))
    assert (settings.window, settings.max_streams, settings.max_frame, settings.max_head_bytes) == (2, 7, 20_000, 9)


def test_tables_and_unknown_settings_are_ignored() -> None:
    assert peer((1, 0xFFFFFFFF), (8, 1), (8, 77), (0xF00, 5), (0, 3)) == peer()


def test_window_bounds() -> None:
    assert peer((4, 0)).window == 0
    assert peer((4, 0x7FFFFFFF)).window == 0x7FFFFFFF
    assert refused((4, 0x80000000)) is ErrorCode.FLOW_CONTROL_ERROR


def test_frame_size_bounds() -> None:
    assert peer((5, 16_384)).max_frame == 16_384
    assert peer((5, (1 << 24) - 1)).max_frame == (1 << 24) - 1
    assert refused((5, 16_383)) is refused((5, 1 << 24)) is ErrorCode.PROTOCOL_ERROR


def test_a_server_must_not_push_and_a_client_may_say_what_it_likes() -> None:
    peer((2, 0))
    peer((2, 1), client=False)
    assert refused((2, 1)) is refused((2, 2), client=False) is ErrorCode.PROTOCOL_ERROR


@pytest.mark.parametrize("size", [1, 5, 7])
def test_odd_sizes(size: int) -> None:
    with pytest.raises(ConnectionBreachError) as caught:
        PeerSettings(client=True, max_streams=1).apply(memoryview(bytes(size)))
    assert caught.value.code is ErrorCode.FRAME_SIZE_ERROR


def test_cve_2019_9515_a_frame_full_of_settings() -> None:
    peer(*[(0xF00, 0)] * 64)
    assert refused(*[(0xF00, 0)] * 65) is ErrorCode.ENHANCE_YOUR_CALM
