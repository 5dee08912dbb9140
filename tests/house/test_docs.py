"""Pages for people: every link leads somewhere, and every command in them is one that exists, with options that it has.

Commands are parsed by the programs themselves and not run; `tests/netns/lab/test_pages.py` runs those of docs/lab.md.
"""

import re
import shlex
from collections.abc import Iterator
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import click
import pytest

from weft_cli.__main__ import weft

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "manifests").rglob("*.md"))
    if path.name != "CHANGELOG.md"
)
LINK = re.compile(r"(?<!\!)\[[^\]]+\]\(([^)#\s]+)[^)]*\)")
CODE = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:sudo )?(?:make|weft) [^`]+)`")
PROGRAM = re.compile(r"(?:[#$] )?(?:sudo )?(?P<program>make|(?:\.venv/bin/)?weft(?:-agent)?) (?P<rest>.+)")
PLACEHOLDER = re.compile(r"[A-Z]{2,}|…|\.\.\.|[<|\[]")


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield program and words of every command of a page; synopses, with placeholders in them, are left out."""
    text = page.read_text()
    lines = [line for block in CODE.findall(text) for line in block.splitlines()]
    lines += INLINE.findall(CODE.sub("", text))  # a mention without any argument is a name, not a command to type
    for line in lines:
        found = PROGRAM.fullmatch(line.strip())
        if found is None:
            continue
        words = shlex.split(found["rest"], comments=True)
        if not any(PLACEHOLDER.search(word) and "ARGS=" not in word for word in words):
            yield found["program"].rpartition("/")[2], words


GIVEN = [(page, program, words) for page in PAGES for program, words in commands(page)]


def test_commands_were_found() -> None:
    assert len(GIVEN) >= 15
    assert {program for _, program, _ in GIVEN} >= {"make", "weft"}


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_lead_somewhere(page: Path) -> None:
    targets = [target for target in LINK.findall(page.read_text()) if "://" not in target and "mailto:" not in target]
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize(
    ("page", "program", "words"),
    GIVEN,
    ids=[f"{relative(page)}: {program} {' '.join(words)}" for page, program, words in GIVEN],
)
def test_a_command_exists_and_takes_these_words(page: Path, program: str, words: list[str]) -> None:
    if program == "make":
        targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert [word for word in words if "=" not in word and word not in targets] == []
    elif program == "weft":
        parse(weft, "weft", words)
    for word in words:
        if word.startswith(("manifests/", "docs/", "perf/", "tests/")):
            assert (ROOT / word).exists(), word


def parse(command: click.Command, name: str, words: list[str], parent: click.Context | None = None) -> None:
    """Let click read the words, down to the last command, without calling any."""
    with redirect_stderr(StringIO()):
        try:
            context = command.make_context(name, list(words), parent=parent)
        except click.exceptions.Exit:  # --help, --version
            return
        except (click.exceptions.NoArgsIsHelpError, click.MissingParameter):
            assert not words, "something is missing"
            return  # the page only names it
    if isinstance(command, click.Group):
        rest = [*context._protected_args, *context.args]
        found, child, left = command.resolve_command(context, rest)
        assert child is not None
        parse(child, found or "", left, context)
