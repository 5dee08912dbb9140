"""A result as text: the table that a run prints. Pure."""

from collections.abc import Iterator, Sequence

from perf.bench.samples import Bar, MemoryRow, Result, Row

NOISY = 0.10
"""Share of the proxies' core that went to others; figures of such a run say so."""


def table(result: Result) -> str:
    """Return everything that a person wants to see after a run."""
    parts = [*_blocks(result)]
    return "\n\n".join(parts) + "\n"


def _blocks(result: Result) -> Iterator[str]:
    if result.rows:
        head = ("scenario", "conns", "peer", "us", "peer us", "ratio", "spread", "per s", "peer per s", "full core", "")
        yield _columns([head, *(cells(row) for row in result.rows)])
    if result.memory:
        idle_head = ("idle connections", "conns", "peer", "KiB each", "peer KiB", "ratio")
        yield _columns([idle_head, *(memory_cells(row) for row in result.memory)])
    if result.resident:
        yield "\n".join(f"{item.process} idle: {item.mib:.1f} MiB" for item in result.resident)
    yield _columns([("bar", "at most", "measured", ""), *(bar_cells(bar) for bar in result.bars)])
    yield notes(result)


def notes(result: Result) -> str:
    """Return what to know before one believes the figures."""
    lines = []
    noisy = [row for row in result.rows if row.others_share > NOISY]
    if noisy:
        lines.append(
            f"The machine was not quiet: in {len(noisy)} of {len(result.rows)} rows others used more than {NOISY:.0%} "
            f"of the proxies' core (load average before: {result.machine['load_average_before']})."
        )
    void = sum(row.void for row in result.rows)
    if void:
        lines.append(f"{void} runs are void, because operations failed; they count nowhere.")
    lines.append(f"{result.rounds} rounds of {result.seconds} s; medians; us is CPU per operation (per GiB for bulk).")
    return "\n".join(lines)


def cells(row: Row) -> tuple[str, ...]:
    """Return the cells of a comparison."""
    return (
        row.scenario,
        str(row.connections),
        row.peer,
        figure(row.cpu_us_per_request),
        figure(row.peer_cpu_us_per_request),
        ratio(row.ratio),
        "" if row.spread is None else f"{row.spread[0]:.2f}-{row.spread[1]:.2f}",
        figure(row.rate),
        figure(row.peer_rate),
        f"{row.saturated}/{row.peer_saturated}",
        "; ".join(_remarks(row)),
    )


def _remarks(row: Row) -> Iterator[str]:
    if row.void:
        yield f"{row.void} void"
    if row.others_share > NOISY:
        yield f"others {row.others_share:.0%}"


def memory_cells(row: MemoryRow) -> tuple[str, ...]:
    """Return the cells of a comparison of memory."""
    return (
        row.what,
        str(row.connections),
        row.peer,
        figure(row.kib),
        figure(row.peer_kib),
        ratio(row.ratio),
    )


def bar_cells(bar: Bar) -> tuple[str, ...]:
    """Return the cells of a bar."""
    measured = "-" if bar.measured is None else f"{bar.measured:.2f}"
    verdict = "not measured" if bar.passed is None else "ok" if bar.passed else "MISSED"
    return (bar.name, f"{bar.limit:g} {bar.unit}", measured, verdict)


def figure(value: float | None) -> str:
    """Return a figure with as many digits as it is worth."""
    if value is None:
        return "void"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"


def ratio(value: float | None) -> str:
    """Return a ratio."""
    return "void" if value is None else f"{value:.2f}"


def _columns(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
