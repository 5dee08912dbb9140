"""Memory by descriptor: sealed bytes never change, shared pages never shrink, impostors are told apart."""

import os
import socket
import tempfile

import pytest

from weft_agent.channel import memfd


def test_sealed_bytes_can_be_read_and_never_changed() -> None:
    fd = memfd.sealed("x", b"secret" * 1000)
    assert memfd.content(fd) == b"secret" * 1000
    assert memfd.content(fd) == b"secret" * 1000, "reading moves nothing"
    with pytest.raises(PermissionError):
        os.pwrite(fd, b"X", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    os.close(fd)


def test_empty_bytes_can_be_sealed() -> None:
    fd = memfd.sealed("x", b"")
    assert memfd.content(fd) == b""
    os.close(fd)


def test_shared_memory_is_written_by_all_and_shrunk_by_none() -> None:
    fd = memfd.shared("x", 8192)
    one, two = memfd.mapped(fd), memfd.mapped(fd)
    one[5000] = 7
    assert two[5000] == 7
    for size in (0, 100_000):
        with pytest.raises(PermissionError):
            os.ftruncate(fd, size)
    assert memfd.is_shared(fd, 8192)
    os.close(fd)
    one[1] = 1  # the mapping outlives its descriptor
    one.close()
    two.close()


def test_what_a_worker_hands_back_is_judged() -> None:
    good = memfd.shared("x", 8192)
    unsealed = os.memfd_create("x", os.MFD_ALLOW_SEALING)
    os.ftruncate(unsealed, 8192)
    never = os.memfd_create("x")
    os.ftruncate(never, 8192)
    assert memfd.is_shared(good, 8192)
    assert not memfd.is_shared(good, 4096)
    assert not memfd.is_shared(unsealed, 8192)
    assert not memfd.is_shared(never, 8192)
    with tempfile.TemporaryFile() as file, socket.socket() as sock:
        file.truncate(8192)
        assert not memfd.is_shared(file.fileno(), 8192)
        assert not memfd.is_shared(sock.fileno(), 8192)
    for fd in (good, unsealed, never):
        os.close(fd)
