"""A layer's files as a value: paths without the leading slash, nodes with mode and content; and as a tar that is always the same.

Theory. A layer is small enough to be held whole (some tens of MiB), which spares root, owners on disk and the order of a
directory. Everything belongs to root, has one date, and is written sorted: the same tree gives the same bytes.
"""

import hashlib
import io
import os
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

DATE_UNIX_S: Final = 1_767_225_600
"""2026-01-01, of every file: what has no date of its own gets one that never changes."""


@dataclass(frozen=True, slots=True)
class File:
    """A regular file."""

    content: bytes
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory that has to be there, or to have a mode of its own; others come by themselves."""

    mode: int = 0o755


Node = File | Link | Folder
Tree = dict[str, Node]


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Tell whether a path is one of the patterns, or below one that ends with a slash."""
    return any(fnmatchcase(path, f"{pattern}*" if pattern.endswith("/") else pattern) for pattern in patterns)


def with_parents(tree: Mapping[str, Node]) -> Tree:
    """Return the tree with every directory that its paths go through."""
    whole: Tree = {}
    for path, node in tree.items():
        for parent in list(Path(path).parents)[:-1]:
            whole.setdefault(str(parent), Folder())
        whole[path] = node
    return whole


def write_tar(tree: Mapping[str, Node]) -> bytes:
    """Return the tree as a tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        whole = with_parents(tree)
        for path in sorted(whole):
            _add(archive, path, whole[path])
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, path: str, node: Node) -> None:
    info = tarfile.TarInfo(path)
    info.mtime = DATE_UNIX_S
    match node:
        case File(content, mode):
            info.mode, info.size = mode, len(content)
            archive.addfile(info, io.BytesIO(content))
        case Link(target):
            info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
            archive.addfile(info)
        case Folder(mode):
            info.type, info.mode = tarfile.DIRTYPE, mode
            archive.addfile(info)


def read_tar(data: bytes) -> Tree:
    """Return the tree that `write_tar` wrote."""
    tree: Tree = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            if member.issym():
                tree[member.name] = Link(member.linkname)
            elif member.isdir():
                tree[member.name] = Folder(member.mode)
            else:
                file = archive.extractfile(member)
                tree[member.name] = File(file.read() if file is not None else b"", member.mode)
    return tree


def write_folder(tree: Mapping[str, Node], root: Path) -> None:
    """Write the tree into a directory, which may hold other layers already; owners are whoever does it."""
    root.mkdir(parents=True, exist_ok=True)
    whole = with_parents(tree)
    for path in sorted(whole):
        place = root / path
        match whole[path]:
            case Folder(mode):
                place.mkdir(exist_ok=True)
                place.chmod(mode)
            case File(content, mode):
                place.unlink(missing_ok=True)
                place.write_bytes(content)
                place.chmod(mode)
                os.utime(place, (DATE_UNIX_S, DATE_UNIX_S))
            case Link(target):
                place.unlink(missing_ok=True)
                place.symlink_to(target)


def digest(data: bytes) -> str:
    """Return the digest of a blob, as OCI writes it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
