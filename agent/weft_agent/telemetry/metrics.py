"""Control's own numbers: the families that control states, as plain values by label set."""

import threading
from collections.abc import Mapping

from weft_agent.telemetry.families import FAMILIES

LabelValues = tuple[str, ...]


class Metrics:
    """Values of control's families; threads may write."""

    def __init__(self) -> None:
        self._values: dict[str, dict[LabelValues, float]] = {}
        self._lock = threading.Lock()

    def add(self, family: str, amount: float = 1.0, /, **labels: str) -> None:
        """Add to a counter."""
        key = _key(family, labels)
        with self._lock:
            values = self._values.setdefault(family, {})
            values[key] = values.get(key, 0.0) + amount

    def set(self, family: str, value: float, /, **labels: str) -> None:
        """State a gauge."""
        key = _key(family, labels)
        with self._lock:
            self._values.setdefault(family, {})[key] = value

    def replace(self, family: str, values: Mapping[LabelValues, float]) -> None:
        """State a gauge for all its label sets at once; sets that are not named disappear."""
        with self._lock:
            self._values[family] = dict(values)

    def forget(self, **labels: str) -> None:
        """Drop every label set of any family that says all of this, when what it describes is gone."""
        wanted = labels.items()
        with self._lock:
            for family, values in self._values.items():
                names = FAMILIES[family].labels
                for key in [key for key in values if wanted <= dict(zip(names, key, strict=True)).items()]:
                    del values[key]

    def get(self, family: str, /, **labels: str) -> float:
        """Return a value, 0.0 where nothing was stated."""
        with self._lock:
            return self._values.get(family, {}).get(_key(family, labels), 0.0)

    def snapshot(self) -> dict[str, dict[LabelValues, float]]:
        """Return a copy of all values."""
        with self._lock:
            return {family: dict(values) for family, values in self._values.items()}


def _key(family: str, labels: Mapping[str, str]) -> LabelValues:
    declared = FAMILIES[family]
    if declared.owner != "control" or set(labels) != set(declared.labels):
        raise KeyError(f"{family} is not a family of control with the labels {sorted(labels)}")
    return tuple(labels[name] for name in declared.labels)
