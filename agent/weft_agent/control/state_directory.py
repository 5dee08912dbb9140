"""The agent's own directory: locked by one control at a time, and what a next control finds in it.

<state>/                 0700, on a tmpfs
lock                 held by the living control
token                0600: the secret that orphans show
workers.json         slots and processes, so that the next control knows whom to wait for
captured.json        pods whose namespaces hold our rules
last-good.json       see `weft_agent.control.config_files`
retired.msgpack      counters of dead workers
admin.sock           0600
workers/sock         where orphans are adopted; the only thing of the host that a worker sees
root/                empty: mount point of the workers' root
"""

import fcntl
import os
import secrets
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from weft_agent.channel.layout import ADOPTION_SOCKET

T = TypeVar("T")

TOKEN_BYTES: Final = 32
MAX_SOCKET_PATH_BYTES: Final = 107
"""Source: unix(7), sun_path."""


class StateDirectoryError(Exception):
    """The directory cannot be used; the message says why and what to do."""


class StateDirectory:
    """The directory, locked for as long as this value lives.

    Args:
        path: created when missing.

    Raises:
        StateDirectoryError: it cannot be made, or another agent holds it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        longest = len(os.fsencode(path / "workers" / ADOPTION_SOCKET))
        if longest > MAX_SOCKET_PATH_BYTES:
            raise StateDirectoryError(f"{path} is too long a path for sockets; choose a shorter one with --state")
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(0o700)
            for name, mode in (("workers", 0o711), ("root", 0o711)):
                (path / name).mkdir(exist_ok=True)
                (path / name).chmod(mode)
            self._lock: int | None = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise StateDirectoryError(
                f"cannot use {path} as state directory: {exc}; choose another with --state"
            ) from exc

    def lock(self) -> bool:
        """Take the lock if it is free; never again once it was handed over."""
        if self._lock is None:
            return False
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def hand_over(self) -> None:
        """Let a successor have the directory: it finds no worker of ours to wait for, and nothing is written here any more."""
        self.write("workers.json", [])
        self.close()

    def take_back(self) -> bool:
        """Have the directory again if no successor took it; tell whether it is ours."""
        if self._lock is None:
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if not self.lock():
                self.close()
        return self.is_ours

    def close(self) -> None:
        """Let go of the lock, once."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    @property
    def is_ours(self) -> bool:
        """False once it was handed over."""
        return self._lock is not None

    @property
    def worker_directory(self) -> Path:
        """The directory of the adoption socket."""
        return self.path / "workers"

    @property
    def root_directory(self) -> Path:
        """The mount point of the workers' root."""
        return self.path / "root"

    @property
    def admin_socket(self) -> Path:
        """The admin socket."""
        return self.path / "admin.sock"

    @property
    def retired_counters(self) -> Path:
        """The counters of dead workers."""
        return self.path / "retired.msgpack"

    def token(self) -> bytes:
        """Return the secret, made at first use."""
        path = self.path / "token"
        try:
            token = path.read_bytes()
            if len(token) == TOKEN_BYTES:
                return token
        except FileNotFoundError:
            pass
        token = secrets.token_bytes(TOKEN_BYTES)
        _write(path, token)
        return token

    def write(self, name: str, value: object) -> None:
        """Write a small record, atomically; nothing in a directory that a successor has."""
        if self.is_ours:
            _write(self.path / name, msgspec.json.encode(value))

    def read(self, name: str, python_type: type[T]) -> T | None:
        """Return a record, None when there is none that can be read."""
        try:
            return msgspec.json.decode((self.path / name).read_bytes(), type=python_type)
        except (OSError, msgspec.DecodeError):
            return None


def _write(path: Path, data: bytes) -> None:
    new = path.with_suffix(".new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
    os.replace(new, path)
