"""Control's side of the workers' counters: what each cell means, and sums that never go backwards when a worker dies.

Theory: a living worker's numbers are read from its page when somebody asks. When it dies, its counters are added once to
the *retired* sums, its gauges vanish with it. Retired sums are kept on disk (a tmpfs) as well, so that a new control goes on
counting where the last one was.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from weft_agent.channel.messages import Series
from weft_agent.telemetry.counters import CELLS, CounterPage
from weft_agent.telemetry.families import FAMILIES

LabelPairs = tuple[tuple[str, str], ...]
Totals = dict[tuple[str, LabelPairs], list[int]]
"""Cell values by (family, labels)."""

_RETIRED: Final = msgspec.msgpack.Decoder(list[tuple[str, LabelPairs, list[int]]])


class WorkerPage:
    """The counters of one worker, as control reads them."""

    def __init__(self, page: CounterPage) -> None:
        self._page = page
        self._series: dict[int, Series] = {}

    def add(self, made: Iterable[Series]) -> None:
        """Learn what cells mean; what does not fit the declared families is ignored, a worker is not trusted."""
        for series in made:
            family = FAMILIES.get(series.family)
            fits = family is not None and family.owner == "worker" and family.cells == series.cells
            if fits and 0 <= series.index <= CELLS - series.cells and len(self._series) < CELLS:
                self._series[series.index] = series

    def add_to(self, totals: Totals, *, gauges: bool) -> None:
        """Add the present values to `totals`.

        Args:
            totals: changed in place.
            gauges: False leaves out what must not outlive the worker.
        """
        for series in self._series.values():
            if gauges or FAMILIES[series.family].kind != "gauge":
                values = self._page.read(series.index, series.cells)
                _add(totals, (series.family, series.labels), values)

    def close(self) -> None:
        """Unmap the page."""
        self._page.close()


class Pages:
    """The counters of all workers, living and dead.

    Args:
        path: where retired sums are kept.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._living: list[WorkerPage] = []
        self._retired = _load(path)
        self.is_kept = True
        """False: a successor keeps its own sums at the path, and ours are written no more."""

    def join(self, page: WorkerPage) -> None:
        """Count a worker in."""
        self._living.append(page)

    def retire(self, page: WorkerPage) -> None:
        """Keep a dead worker's counts and forget its page."""
        if page in self._living:
            self._living.remove(page)
            page.add_to(self._retired, gauges=False)
            page.close()
            if self.is_kept:
                self._save()

    def totals(self) -> Totals:
        """Return the sums over all workers."""
        totals: Totals = {key: list(values) for key, values in self._retired.items()}
        for page in self._living:
            page.add_to(totals, gauges=True)
        return totals

    def _save(self) -> None:
        rows = [(family, labels, values) for (family, labels), values in self._retired.items() if any(values)]
        new = self._path.with_suffix(".new")
        new.write_bytes(msgspec.msgpack.encode(rows))
        new.replace(self._path)


def _load(path: Path) -> Totals:
    try:
        rows = _RETIRED.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError):  # none yet, or of another version: counters start anew, as after a reboot
        return {}
    found: Totals = {}
    for family, labels, values in rows:
        declared = FAMILIES.get(family)
        if declared is not None and declared.cells == len(values):
            found[family, labels] = values
    return found


def _add(totals: Totals, key: tuple[str, LabelPairs], values: Iterable[int]) -> None:
    present = totals.get(key)
    totals[key] = list(values) if present is None else [a + b for a, b in zip(present, values, strict=True)]


def value_of(totals: Mapping[tuple[str, LabelPairs], list[int]], family: str, /, **labels: str) -> int:
    """Return the first cell summed over all series of a family that carry these labels."""
    wanted = set(labels.items())
    return sum(values[0] for (name, pairs), values in totals.items() if name == family and wanted <= set(pairs))
