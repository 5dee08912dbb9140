"""Pods by label: selectors of Services and policies are answered without looking at every pod."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from weft_contract.objects import Pod


class PodFinder(Protocol):
    """Who answers selectors."""

    def select(self, namespace: str | None, wanted: Mapping[str, str]) -> Iterator[Pod]:
        """Yield the pods of a namespace (None: of all) that have every wanted label, by key."""


class PodIndex:
    """Finds pods by labels without looking at all of them."""

    def __init__(self, pods: Iterable[Pod]) -> None:
        self._namespaces: dict[str, list[Pod]] = {}
        self._pairs: dict[tuple[str, str, str], list[Pod]] = {}
        for pod in pods:
            namespace = pod.metadata.namespace
            self._namespaces.setdefault(namespace, []).append(pod)
            for key, value in pod.metadata.labels.items():
                self._pairs.setdefault((namespace, key, value), []).append(pod)

    def select(self, namespace: str | None, wanted: Mapping[str, str]) -> Iterator[Pod]:
        """Yield the pods of a namespace (None: of all) that have every wanted label."""
        for name in [namespace] if namespace is not None else list(self._namespaces):
            candidates = self._namespaces.get(name, [])
            for key, value in wanted.items():
                having = self._pairs.get((name, key, value), [])
                candidates = having if len(having) < len(candidates) else candidates
            for pod in candidates:
                if wanted.items() <= pod.metadata.labels.items():
                    yield pod
