"""Files that are replaced whole: after a crash at any moment there is the old content or the new, and nothing of both.

Theory: the new content is written under a name that begins with a dot (readers pass over those), with its final permissions
from the first byte on, flushed, and renamed over the old one. The directory is flushed too, so the new name survives a power cut.

Source: rename(2), fsync(2).
"""

import os
import secrets
from pathlib import Path


def replace_file(path: Path, data: bytes, mode: int) -> None:
    """Replace the content of `path`; blocking.

    Raises:
        OSError: as the file system says; the old content is still there.
    """
    new = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            os.fchmod(file.fileno(), mode)  # whatever the umask
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    _flush_directory(path.parent)


def sweep_unfinished(directory: Path, name: str = "*") -> None:
    """Remove what a crash left half written; blocking.

    Args:
        directory: where nobody else writes now.
        name: of the file, or a pattern of names.
    """
    for path in directory.glob(f".{name}.*"):
        path.unlink(missing_ok=True)


def _flush_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
