"""The directory of this node's own keys and certificates: written by the certificate client, read by `control.identities`.

Theory: the layout is that of the static mode (`weft_contract.identity_layout`), so one reader serves both. Keys belong in memory:
a directory that is on a disk is used all the same, since a node without certificates protects nobody, but it is told on every
occasion until somebody mounts a tmpfs there.

Source: statfs(2).
"""

import ctypes
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from weft_agent.atomic_file import replace_file, sweep_unfinished
from weft_agent.tls.identity_files import load_directory
from weft_contract.identity import SpiffeId
from weft_contract.identity_layout import DIRECTORY_MODE, KEY_PAIR_MODE, SUFFIX, key_pair_file_name
from weft_contract.limits import Limits
from weft_core.identity import read_certificates

_MEMORY_FILE_SYSTEMS: Final = frozenset({0x01021994, 0x858458F6})
"""TMPFS_MAGIC, RAMFS_MAGIC."""
_STATFS_BYTES: Final = 256
"""More than any architecture's struct statfs; its first word is the type."""

_libc: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Stored:
    """A certificate that is there, with its key."""

    chain: tuple[bytes, ...]
    """DER, leaf first."""
    not_before_unix_s: float
    not_after_unix_s: float


class KeyDirectory:
    """The directory.

    Args:
        path: made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self) -> str:
        """Make the directory fit for keys, and return what is wrong with it; blocking."""
        try:
            self.path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            self.path.chmod(DIRECTORY_MODE)
            sweep_unfinished(self.path, f"*{SUFFIX}")
        except OSError as exc:
            return f"{self.path} cannot hold keys: {exc.strerror}; give another with --identity"
        if not _in_memory(self.path):
            return f"{self.path} is on a disk, where keys should not be; mount a tmpfs there"
        return ""

    def read(self, now_unix_s: float, limits: Limits) -> Mapping[SpiffeId, Stored]:
        """Return what can be used of what is there; blocking."""
        found = load_directory(self.path, now_unix_s, limits)
        return {
            identity: Stored(
                read_certificates(pair.chain_pem, at_most=limits.chain_length),
                pair.not_before_unix_s,
                pair.not_after_unix_s,
            )
            for identity, pair in found.key_pairs.items()
        }

    def write(self, identity: SpiffeId, key_pem: bytes, chain_pem: bytes) -> None:
        """Store a key with its chain, in place of the former; blocking.

        Raises:
            OSError: the former is still there.
        """
        replace_file(self.path / key_pair_file_name(identity), key_pem + chain_pem, KEY_PAIR_MODE)

    def remove(self, identity: SpiffeId) -> None:
        """Remove a key and its chain; blocking."""
        (self.path / key_pair_file_name(identity)).unlink(missing_ok=True)


def _in_memory(path: Path) -> bool:
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    if _libc.statfs(os.fsencode(path), buffer) != 0:
        return False
    word = ctypes.sizeof(ctypes.c_long)
    return int.from_bytes(buffer.raw[:word], "little") & 0xFFFFFFFF in _MEMORY_FILE_SYSTEMS
