"""The generated tables: what documents show between two marks is the newest result of `perf/results`, and nothing else.

python perf/run.py --tables            write them
python perf/run.py --tables --check    say whether they are up to date
"""

from pathlib import Path
from typing import Final

import msgspec
from perf.bench.programs import HERE
from perf.bench.report import markdown
from perf.bench.samples import Result

RESULTS: Final = HERE / "results"
BEGIN: Final = "<!-- generated from perf/results by `python perf/run.py --tables`: begin -->"
END: Final = "<!-- generated from perf/results: end -->"
DOCUMENTS: Final = ("README.md", "perf/README.md", "docs/performance.md")
"""Below the root of the checkout; those without the marks are left alone."""

_NONE: Final = "No results are committed yet."


def newest(results: Path = RESULTS) -> Path | None:
    """Return the newest whole result: names begin with their date, quick runs do not count."""
    found = sorted(path for path in results.glob("*.json") if not load(path).quick) if results.is_dir() else []
    return found[-1] if found else None


def load(path: Path) -> Result:
    """Read a result."""
    return msgspec.json.decode(path.read_bytes(), type=Result)


def block(results: Path = RESULTS) -> str:
    """Return what belongs between the marks."""
    path = newest(results)
    return _NONE if path is None else markdown(load(path), f"`perf/results/{path.name}`")


def filled(text: str, content: str) -> str:
    """Return a document with its block replaced; one without marks as it is.

    Raises:
        ValueError: a mark is missing or there are several.
    """
    if BEGIN not in text and END not in text:
        return text
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError("the marks of the generated table must be there once each, begin before end")
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    return f"{head}{BEGIN}\n\n{content}\n\n{END}{tail}"


def stale(root: Path, results: Path = RESULTS) -> list[str]:
    """Return the documents whose block is not what it should be."""
    content = block(results)
    texts = {name: (root / name).read_text() for name in DOCUMENTS if (root / name).exists()}
    return [name for name, text in texts.items() if filled(text, content) != text]


def write(root: Path, results: Path = RESULTS) -> list[str]:
    """Bring all documents up to date; return those that changed."""
    changed = stale(root, results)
    for name in changed:
        path = root / name
        path.write_text(filled(path.read_text(), block(results)))
    return changed
