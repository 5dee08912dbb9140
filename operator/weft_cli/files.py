"""Reading `-f`: files, directories, standard input."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from weft_cli.exits import USAGE
from weft_cli.output import CommandError

SUFFIXES: Final = (".yaml", ".yml", ".json")


def read_texts(places: Iterable[str]) -> list[tuple[str, str]]:
    """Return name and content of every file that `-f` names.

    Args:
        places: files, directories (their YAML and JSON files, not below), or `-` for standard input.

    Raises:
        CommandError: a place does not exist, cannot be read, or is a directory without YAML files.
    """
    return [text for place in places for text in _of_place(place)]


def _of_place(place: str) -> Iterator[tuple[str, str]]:
    if place == "-":
        yield "standard input", sys.stdin.read()
        return
    path = Path(place)
    if path.is_dir():
        files = sorted(item for item in path.iterdir() if item.suffix in SUFFIXES and item.is_file())
        if not files:
            raise CommandError(f"{place}: no {', '.join(SUFFIXES)} files in this directory", USAGE)
        for file in files:
            yield _read(file)
    else:
        yield _read(path)


def _read(path: Path) -> tuple[str, str]:
    try:
        return str(path), path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CommandError(f"{path}: there is no such file or directory", USAGE) from None
    except UnicodeDecodeError:
        raise CommandError(f"{path}: is not UTF-8 text", USAGE) from None
    except OSError as exc:
        raise CommandError(f"{path}: {exc.strerror}", USAGE) from exc
