"""A look at all objects of a lab at one moment, by kind. Pure."""

from collections.abc import Iterator, Mapping
from typing import TypeVar

from weft_lab.model import Key, LabObject, Namespace, Node, Pod, Service
from weft_lab.model.meta import OwnerReference

T = TypeVar("T")


class View:
    """Objects by key; the mapping must not change while the view is used."""

    def __init__(self, objects: Mapping[Key, LabObject]) -> None:
        self.objects = objects

    def of(self, python_type: type[T]) -> Iterator[tuple[Key, T]]:
        """Yield the objects of one type, sorted by key."""
        for key in sorted(self.objects):
            found = self.objects[key]
            if isinstance(found, python_type):
                yield key, found

    def get(self, key: Key, python_type: type[T]) -> T | None:
        """Return one object if it is there."""
        found = self.objects.get(key)
        return found if isinstance(found, python_type) else None

    def nodes(self) -> tuple[Node, ...]:
        """Return all nodes in their order of numbers."""
        return tuple(sorted((node for _, node in self.of(Node)), key=lambda node: natural(node.metadata.name)))

    def pods(self) -> tuple[Pod, ...]:
        """Return all pods, sorted by namespace and name."""
        return tuple(pod for _, pod in self.of(Pod))

    def services(self) -> tuple[Service, ...]:
        """Return all Services, sorted by namespace and name."""
        return tuple(service for _, service in self.of(Service))

    def namespace(self, name: str) -> Namespace | None:
        """Return a namespace if it is there."""
        return self.get(Key("Namespace", "", name), Namespace)


def pod_key(pod: Pod) -> Key:
    """Return a pod's key."""
    return Key("Pod", pod.metadata.namespace, pod.metadata.name)


def owner_of(pod: Pod) -> OwnerReference | None:
    """Return the object that made a pod, or None for a pod of its own."""
    return next((owner for owner in pod.metadata.owner_references if owner.controller), None)


def natural(name: str) -> tuple[str, int, str]:
    """Return a sort key under which `node-10` comes after `node-9`."""
    stem = name.rstrip("0123456789")
    digits = name[len(stem) :]
    return stem, int(digits or 0), name
