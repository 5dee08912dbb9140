"""Names and numbers that others rely on."""

from weft_contract import labels, ports


def test_the_api_version_is_group_and_version() -> None:
    assert f"{labels.GROUP}/{labels.VERSION}" == labels.API_VERSION


def test_our_keys_are_of_our_group() -> None:
    assert all(key.startswith("weft.dev/") for key in (labels.MESH_LABEL, *labels.NETWORKING_ANNOTATIONS))


def test_marks_tell_the_three_kinds_of_sockets_apart_under_the_loop_mask() -> None:
    assert ports.OUT_MARK & ports.LOOP_MASK == ports.BACK_MARK & ports.LOOP_MASK
    assert ports.PROXY_MARK & ports.LOOP_MASK != ports.OUT_MARK & ports.LOOP_MASK
    marks = {ports.PROXY_MARK, ports.OUT_MARK, ports.BACK_MARK}
    assert len(marks) == 3
    assert all(mark & ports.MARK_MASK == mark for mark in marks)


def test_source_ports_of_the_agent_do_not_meet_ephemeral_ones() -> None:
    assert max(ports.BACK_PORTS) < 32768
    assert min(ports.BACK_PORTS) >= 1024
    assert not ports.CAPTURE_PORTS & {ports.METRICS_PORT, ports.HEALTH_PORT, ports.STREAM_PORT, ports.WEBHOOK_PORT}
