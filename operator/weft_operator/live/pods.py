"""Pods by label, changed one by one: what answers the selectors of Services and policies."""

from collections.abc import Iterator, Mapping
from typing import TypeVar

from weft_contract.objects import Pod

K = TypeVar("K")


class LivePods:
    """A `PodFinder` over a changing set of pods. What it yields is sorted by key, as the whole view is."""

    def __init__(self) -> None:
        self._namespaces: dict[str, dict[str, Pod]] = {}
        self._pairs: dict[tuple[str, str, str], dict[str, Pod]] = {}

    def replace(self, old: Pod | None, new: Pod | None) -> None:
        """Take one pod out and another in; either may be missing."""
        if old is not None:
            _drop(self._namespaces, old.metadata.namespace, old.metadata.key)
            for pair in old.metadata.labels.items():
                _drop(self._pairs, (old.metadata.namespace, *pair), old.metadata.key)
        if new is not None:
            self._namespaces.setdefault(new.metadata.namespace, {})[new.metadata.key] = new
            for pair in new.metadata.labels.items():
                self._pairs.setdefault((new.metadata.namespace, *pair), {})[new.metadata.key] = new

    def in_namespace(self, namespace: str) -> Mapping[str, Pod]:
        """Return the pods of a namespace by key."""
        return self._namespaces.get(namespace, {})

    def select(self, namespace: str | None, wanted: Mapping[str, str]) -> Iterator[Pod]:
        """Yield the pods of a namespace (None: of all) that have every wanted label, by key."""
        found: dict[str, Pod] = {}
        for name in [namespace] if namespace is not None else list(self._namespaces):
            candidates = self._namespaces.get(name, {})
            for key, value in wanted.items():
                having = self._pairs.get((name, key, value), {})
                candidates = having if len(having) < len(candidates) else candidates
            for key, pod in candidates.items():
                if wanted.items() <= pod.metadata.labels.items():
                    found[key] = pod
        yield from (found[key] for key in sorted(found))


def _drop(tables: dict[K, dict[str, Pod]], table: K, key: str) -> None:
    found = tables.get(table)
    if found is not None:
        found.pop(key, None)
        if not found:
            del tables[table]
