"""The snapshot on disk: whole or not at all, recognised when it is damaged or of another version."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weft_agent.operator_client.disk_snapshot import FILE, Place, SnapshotError, read_snapshot, write_snapshot

ENTRIES = {"Node/n1": ("h1", b"{}"), "Service/shop/web": ("h2", b"\0\xff")}


def place(directory: Path, node: str = "n1") -> Place:
    return Place(directory, node, "1.0")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    size = write_snapshot(place(tmp_path / "disk"), ENTRIES, 7.0)
    path = tmp_path / "disk" / FILE
    assert path.stat().st_size == size
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    snapshot = read_snapshot(place(tmp_path / "disk", "n1"))
    assert snapshot is not None
    assert (snapshot.build, snapshot.saved_unix_s) == ("1.0", 7.0)
    assert snapshot.change().upserts == ENTRIES
    assert snapshot.change().nonces == ()


def test_none_is_none(tmp_path: Path) -> None:
    assert read_snapshot(place(tmp_path, "n1")) is None
    assert read_snapshot(place(tmp_path / "nowhere", "n1")) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_damage_is_noticed(tmp_path: Path, data: st.DataObject) -> None:
    write_snapshot(place(tmp_path), ENTRIES, 7.0)
    path = tmp_path / FILE
    content = bytearray(path.read_bytes())
    where = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[where:]
    else:
        content[where] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(SnapshotError):
        read_snapshot(place(tmp_path, "n1"))


def test_another_nodes_and_another_versions_snapshots_are_refused(tmp_path: Path) -> None:
    write_snapshot(place(tmp_path), ENTRIES, 7.0)
    with pytest.raises(SnapshotError, match="of node 'n1'"):
        read_snapshot(place(tmp_path, "n2"))
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes().replace(b"weft-snapshot 1 ", b"weft-snapshot 2 "))
    with pytest.raises(SnapshotError, match="no snapshot that this version"):
        read_snapshot(place(tmp_path, "n1"))


def test_another_schema_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weft_agent.operator_client.disk_snapshot.SCHEMA", "weft.dev/node/v9")
    write_snapshot(place(tmp_path), ENTRIES, 7.0)
    monkeypatch.undo()
    with pytest.raises(SnapshotError, match=r"schema 'weft\.dev/node/v9'"):
        read_snapshot(place(tmp_path, "n1"))


def test_a_write_that_fails_leaves_the_old_one_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_snapshot(place(tmp_path), ENTRIES, 7.0)

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(SnapshotError, match="No space left"):
        write_snapshot(place(tmp_path), {}, 8.0)
    monkeypatch.undo()
    snapshot = read_snapshot(place(tmp_path, "n1"))
    assert snapshot is not None
    assert snapshot.saved_unix_s == 7.0
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_what_a_crash_left_behind_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / f".{FILE}.0123456789ab").write_bytes(b"half")
    (tmp_path / ".other").write_bytes(b"somebody else's")
    write_snapshot(place(tmp_path), ENTRIES, 7.0)
    assert {path.name for path in tmp_path.iterdir()} == {FILE, ".other"}


def test_a_payload_that_is_none_is_refused(tmp_path: Path) -> None:
    import hashlib

    payload = msgspec.msgpack.encode({"not": "a snapshot"})
    (tmp_path / FILE).write_bytes(b"weft-snapshot 1 " + hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload)
    with pytest.raises(SnapshotError, match="cannot be read"):
        read_snapshot(place(tmp_path, "n1"))
