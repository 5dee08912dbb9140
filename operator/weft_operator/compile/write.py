"""Documents to files: `<directory>/<node>.json`, each replaced whole, those of nodes that are gone removed.

The only module of this room that touches anything outside: `weft compile` and the lab write with it what agents read.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from weft_contract.names import is_subdomain
from weft_operator.compile.cluster import Compiled

SUFFIX: Final = ".json"
_PARTIAL: Final = ".partial"
_BEGINNING: Final = b'{"schema":"weft.dev/node/'


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What changed in the directory; names of nodes, sorted."""

    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
    removed: tuple[str, ...]


def write_documents(compiled: Compiled, directory: Path | str) -> Written:
    """Make a directory hold exactly the documents of a compilation.

    A reader sees the old file or the new one, never a part: each is written beside its place, synced and renamed. A file
    whose content is right already is left alone, so that watchers are not woken for nothing.

    Args:
        compiled: what to write.
        directory: made if it is not there. Documents of other nodes in it are removed, other files are not touched.

    Raises:
        OSError: the directory cannot be written; files that were replaced before stay replaced.
        ValueError: a node's name is not one, and would be a path.
    """
    for node in compiled.nodes:
        if not is_subdomain(node):
            raise ValueError(f"{node!r:.80} is not a node name")
    target = Path(directory)
    target.mkdir(parents=True, exist_ok=True)
    changed = [node for node in compiled.nodes if _replace(target / f"{node}{SUFFIX}", compiled.document_bytes(node))]
    removed = list(_remove_others(target, compiled.nodes))
    _sync_directory(target)
    return Written(
        changed=tuple(changed),
        unchanged=tuple(node for node in compiled.nodes if node not in set(changed)),
        removed=tuple(sorted(removed)),
    )


def _replace(path: Path, data: bytes) -> bool:
    """Write a file if its content differs; say whether it did."""
    try:
        if path.read_bytes() == data:
            return False
    except FileNotFoundError:
        pass
    partial = path.with_name(path.name + _PARTIAL)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    return True


def _remove_others(directory: Path, nodes: Iterable[str]) -> Iterable[str]:
    """Remove documents of nodes that are gone, and what an interrupted writer left."""
    wanted = {f"{node}{SUFFIX}" for node in nodes}
    for path in sorted(directory.iterdir()):
        if path.name.endswith(SUFFIX + _PARTIAL):
            path.unlink()
        elif path.suffix == SUFFIX and path.name not in wanted and _is_document(path):
            path.unlink()
            yield path.name.removesuffix(SUFFIX)


def _is_document(path: Path) -> bool:
    """Whether a file is a node's document, of whatever version, and not somebody's JSON."""
    with path.open("rb") as file:
        return file.read(len(_BEGINNING)) == _BEGINNING


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
