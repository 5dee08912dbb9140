"""Files that others read at any moment: replaced whole, never half written, never readable by others for an instant.

Theory: a file is written under a name of its own that begins with a dot, with its final permissions from the first byte on,
flushed, and renamed over the old one. A reader sees the old or the new. What a crash leaves behind begins with a dot, which
readers pass over.

Source: rename(2), open(2) `O_EXCL`, fsync(2).
"""

import os
import secrets
from pathlib import Path


def write_file(path: Path, data: bytes, mode: int) -> None:
    """Replace `path` with `data`.

    Raises:
        OSError: as the file system says; the old content is still there.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            os.fchmod(file.fileno(), mode)  # whatever the umask
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def make_directory(path: Path, mode: int) -> None:
    """Make a directory and its parents; one that is there already keeps its permissions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=mode)
    except FileExistsError:
        return
    path.chmod(mode)  # whatever the umask


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
