"""The worker's side of metrics: series get cells of the counter page, and control is told what each cell means.

Theory: the hot path holds indexes, not objects: `cells[index] += 1`. A series is made once per label set and announced over
the channel in batches. Labels come from config, but config can hold many label sets, so the number of series is limited;
beyond it a family's overflow series takes the counts, and the number of refused series is itself a metric.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Final

from weft_agent.channel.messages import MAX_MESSAGE_BYTES, Series, SeriesMade
from weft_agent.telemetry.counters import CELLS, CounterPage
from weft_agent.telemetry.families import FAMILIES, OVERFLOW_LABEL, Family

BATCH_BYTES: Final = MAX_MESSAGE_BYTES // 4
"""Estimated in characters, of which one may take four bytes."""
MAX_LABEL_CHARACTERS: Final = 63 + 253 + 1
"""Kubernetes' `namespace/name`; a principal of our grammar may be longer and is cut."""

_OVERFLOWED: Final = "weft_series_overflow_total"


class Histogram:
    """One histogram series, ready to observe."""

    __slots__ = ("_base", "_bounds", "_cells", "_scale", "_sum")

    def __init__(self, cells: memoryview, base: int, family: Family) -> None:
        self._cells = cells
        self._base = base
        self._bounds = family.bounds
        self._scale = family.scale
        self._sum = base + len(family.bounds) + 1

    def observe(self, value: float) -> None:
        """Count one value, in the family's unit; negative ones count as 0."""
        cells = self._cells
        cells[self._base + bisect_left(self._bounds, value)] += 1
        if value > 0.0:
            cells[self._sum] += int(value * self._scale)


class SeriesTable:
    """All series of one worker.

    Args:
        page: the worker's counters.
        limit: `Limits.metric_series`.
        announce: takes `SeriesMade` messages.
    """

    def __init__(self, page: CounterPage, limit: int, announce: Callable[[SeriesMade], None]) -> None:
        self._page = page
        self._limit = limit
        self._announce = announce
        self._indexes: dict[tuple[str, tuple[str, ...]], int] = {}
        self._made: list[Series] = []
        self._new: list[Series] = []
        self._next = 0
        self.cells = page.cells
        """For the hot path: `table.cells[index] += 1`."""
        self._overflow = {
            name: self._make(family, None) for name, family in FAMILIES.items() if family.owner == "worker"
        }
        self.flush()

    def counter(self, family: str, labels: Mapping[str, str] | None = None) -> int:
        """Return the cell of a counter or gauge series, made now if need be; ask once, keep the index.

        Args:
            family: name of a worker's family in `FAMILIES`.
            labels: values by label name; absent ones are empty.

        Raises:
            KeyError: no such family, or it has no such label: a bug of the caller.
        """
        return self._index(family, labels or {})

    def histogram(self, family: str, labels: Mapping[str, str] | None = None) -> int:
        """Return the first cell of a histogram series; arguments as in `counter`."""
        return self._index(family, labels or {})

    def observer(self, family: str, labels: Mapping[str, str] | None = None) -> Histogram:
        """Return a histogram series to observe with; arguments as in `counter`."""
        return Histogram(self.cells, self._index(family, labels or {}), FAMILIES[family])

    def flush(self) -> None:
        """Announce what is new; the worker calls this often (it costs nothing when there is nothing)."""
        if not self._new:
            return
        batch: list[Series] = []
        size = 0
        for series in self._new:
            weight = 64 + sum(len(name) + len(value) + 8 for name, value in series.labels)
            if batch and size + weight > BATCH_BYTES:
                self._announce(SeriesMade(series=tuple(batch)))
                batch, size = [], 0
            batch.append(series)
            size += weight
        self._announce(SeriesMade(series=tuple(batch)))
        self._new.clear()

    def announce_all(self) -> None:
        """Announce every series again, to a control that knows none."""
        self._new = list(self._made)
        self.flush()

    def _index(self, name: str, labels: Mapping[str, str]) -> int:
        family = FAMILIES[name]
        absent = family.absent
        key = (name, tuple([labels.get(label) or absent for label in family.labels]))
        index = self._indexes.get(key)
        if index is not None:
            return index
        unknown = labels.keys() - set(family.labels)
        if unknown:
            raise KeyError(f"{name} has no label {sorted(unknown)}")
        if len(self._indexes) >= self._limit or self._next + family.cells > CELLS:
            self.cells[self._overflow[_OVERFLOWED]] += 1
            return self._overflow[name]
        index = self._make(family, key[1])
        self._indexes[key] = index
        return index

    def _make(self, family: Family, values: tuple[str, ...] | None) -> int:
        index = self._next
        self._next += family.cells
        labels: tuple[tuple[str, str], ...] = ()
        if values is None and family.name != _OVERFLOWED:
            labels = ((OVERFLOW_LABEL, "true"),)
        elif values is not None:
            labels = tuple((k, v[:MAX_LABEL_CHARACTERS]) for k, v in zip(family.labels, values, strict=True) if v)
        made = Series(index=index, cells=family.cells, family=family.name, labels=labels)
        self._made.append(made)
        self._new.append(made)
        return index
