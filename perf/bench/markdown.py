"""A result as Markdown: the short table of the README and the full ones of docs/performance.md. Pure."""

from collections.abc import Iterable, Iterator, Sequence

from perf.bench.figures import RATIO_BARS
from perf.bench.report import bar_cells, cells, figure, memory_cells, notes, ratio
from perf.bench.samples import Bar, Resident, Result, Row


def brief(result: Result, name: str) -> str:
    """Return what the README shows: CPU per operation beside Envoy's where a bar was promised, and memory.

    Args:
        result: what was measured.
        name: of its file.
    """
    rows = {(row.scenario, row.connections, row.peer): row for row in result.rows}
    found = ((title, rows.get((scenario, many, peer)), limit) for title, scenario, many, peer, limit in RATIO_BARS)
    table = _pipe(
        ("CPU of all proxies on the way", "Weft", "Envoy", "ratio", "bar"),
        (_brief_cells(title, row, limit) for title, row, limit in found if row is not None),
    )
    return "\n\n".join([_where(result, name), table, _memory(result)])


def full(result: Result, name: str) -> str:
    """Return everything that was measured, as docs/performance.md shows it.

    Args:
        result: what was measured.
        name: of its file.
    """
    rows = _pipe(
        (
            "scenario",
            "connections",
            "peer",
            "CPU µs",
            "peer's",
            "ratio",
            "spread",
            "per s",
            "peer's per s",
            "full core",
        ),
        (_full_cells(row) for row in result.rows),
    )
    memory = _pipe(
        ("idle connections", "peer", "KiB each", "peer's", "ratio"),
        (memory_cells(row)[:1] + memory_cells(row)[2:] for row in result.memory),
    )
    parts = [_where(result, name), _bars(result.bars), rows, memory, _residents(result.resident), notes(result)]
    return "\n\n".join(parts)


def _where(result: Result, name: str) -> str:
    machine = result.machine
    return (
        f"Measured {result.date} at commit {result.commit or 'unknown'} ({name}): {machine['cpu']}, kernel "
        f"{machine['kernel']}, Python {machine['python']}, {machine['openssl']}, Envoy {_envoy(str(machine['envoy']))}; "
        f"{result.rounds} rounds of {result.seconds} s."
    )


def _envoy(text: str) -> str:
    """Return the version of `commit/version/state/kind/library`."""
    parts = text.split("/")
    return parts[1] if len(parts) > 1 else text


def _brief_cells(title: str, row: Row, limit: float) -> tuple[str, ...]:
    ours, theirs = (_amount(value, row.unit) for value in (row.cpu_us_per_request, row.peer_cpu_us_per_request))
    verdict = "missed" if row.ratio is None or row.ratio > limit else "met"
    return (f"{title} ({row.connections})", ours, theirs, ratio(row.ratio), f"≤ {limit:.2f}, {verdict}")


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return "void"
    return f"{value / 1e6:.2f} s/GiB" if unit == "GiB" else f"{value:.1f} µs"


def _memory(result: Result) -> str:
    idle = ", ".join(
        f"{row.what.replace('_', ' ')} {figure(row.kib)} ({figure(row.peer_kib)})" for row in result.memory
    )
    parts = [f"Memory of an idle connection in KiB, Envoy's in brackets: {idle}."] if idle else []
    return " ".join([*parts, *([_residents(result.resident)] if result.resident else [])])


def _full_cells(row: Row) -> tuple[str, ...]:
    found = cells(row)
    return (f"`{found[0]}`", *found[1:10])


def _residents(resident: Iterable[Resident]) -> str:
    return "Resident memory, idle: " + ", ".join(f"{item.process} {item.mib:.1f} MiB" for item in resident) + "."


def _bars(bars: Iterable[Bar]) -> str:
    return _pipe(("bar", "at most", "measured", ""), (bar_cells(bar) for bar in bars))


def _pipe(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in _rows(head, lines))


def _rows(head: Sequence[str], lines: Iterable[Sequence[str]]) -> Iterator[Sequence[str]]:
    yield head
    yield ["---"] * len(head)
    yield from lines
