"""Rules of foreign objects that we depend on: labels and annotations of ours, ports of Services."""

import difflib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final

from weft_contract import labels
from weft_contract.objects import annotations
from weft_contract.objects.annotations import AnnotationError
from weft_contract.objects.cluster import Namespace
from weft_contract.objects.metadata import Metadata
from weft_contract.objects.pod import Pod
from weft_contract.objects.service import Service
from weft_contract.problems import Problem

_POD_GRAMMAR: Final[dict[str, Callable[[str], object]]] = {
    labels.EXCLUDE_INBOUND_PORTS: annotations.port_ranges,
    labels.EXCLUDE_OUTBOUND_PORTS: annotations.port_ranges,
    labels.EXCLUDE_OUTBOUND_NETWORKS: annotations.networks,
    labels.OPAQUE_PORTS: annotations.port_ranges,
    labels.PRESERVE_SOURCE: annotations.truth,
    labels.NETNS: annotations.netns_name,
}
_NOT_YET: Final = (labels.RETRY_PREFIX, labels.TIMEOUT_PREFIX)
_OURS: Final = (f"{labels.GROUP}/", labels.RATELIMIT_PREFIX)
_NAMESPACE_GRAMMAR: Final[dict[str, Callable[[str], object]]] = {
    labels.EXPORT_TO: lambda value: annotations.export_to(value, ".")
}
_SERVICE_GRAMMAR: Final[dict[str, Callable[[str], object]]] = {
    labels.OPAQUE_PORTS: annotations.port_ranges,
    labels.REQUEST_TIMEOUT: annotations.timeout_s,
    labels.BACKEND_TIMEOUT: annotations.timeout_s,
    labels.RATE_LIMIT: annotations.rate,
    labels.RATE_BURST: annotations.burst,
    **_NAMESPACE_GRAMMAR,
}


def pod_problems(pod: Pod) -> Iterator[Problem]:
    """Yield what is wrong with our labels and annotations on a pod."""
    yield from mesh_label_problems(pod.metadata)
    yield from _annotation_problems(pod.metadata, _POD_GRAMMAR)


def template_problems(metadata: Metadata) -> Iterator[Problem]:
    """Yield what would be wrong with our labels and annotations on the pods of a template."""
    for problem in (*mesh_label_problems(metadata), *_annotation_problems(metadata, _POD_GRAMMAR)):
        yield replace(problem, path=problem.path.replace("$.", "$.spec.template.", 1))


def namespace_problems(namespace: Namespace) -> Iterator[Problem]:
    """Yield what is wrong with our label and annotation on a namespace."""
    yield from mesh_label_problems(namespace.metadata)
    yield from _annotation_problems(namespace.metadata, _NAMESPACE_GRAMMAR)


def mesh_label_problems(metadata: Metadata) -> Iterator[Problem]:
    """Yield what is wrong with the opt-in label, given as a label or, by mistake, as an annotation."""
    value = metadata.labels.get(labels.MESH_LABEL)
    path = f"$.metadata.labels[{labels.MESH_LABEL!r}]"
    if value is not None:
        try:
            annotations.enrolled(value)
        except AnnotationError as exc:
            yield Problem(path=path, message=f"{exc}; the label is not counted", remedy="correct the label")
    elif labels.MESH_LABEL in metadata.annotations:
        message = f"{labels.MESH_LABEL} is a label, as an annotation it has no effect"
        yield Problem(path="$.metadata.annotations", message=message, remedy="make it a label")


def _annotation_problems(metadata: Metadata, grammar: dict[str, Callable[[str], object]]) -> Iterator[Problem]:
    for key, value in metadata.annotations.items():
        path = f"$.metadata.annotations[{key!r}]"
        if key in grammar:
            try:
                grammar[key](value)
            except AnnotationError as exc:
                yield Problem(path=path, message=f"{exc}; the annotation is not counted")
        elif key.startswith(_NOT_YET):
            yield Problem(path=path, message=f"{key} has no effect yet in this release", warning=True)
        elif key.startswith(_OURS) and key != labels.MESH_LABEL:
            remedy = _nearest(key, grammar)
            yield Problem(path=path, message=f"{key} is no annotation of ours here", remedy=remedy, warning=True)


def _nearest(key: str, known: Iterable[str]) -> str:
    """Return what was probably meant; the prefix that all share says nothing."""
    names = {name.partition("/")[2]: name for name in known}
    near = difflib.get_close_matches(key.partition("/")[2], names, n=1, cutoff=0.6)
    return f"did you mean {names[near[0]]}?" if near else f"known here: {', '.join(sorted(names.values()))}"


def service_problems(service: Service) -> Iterator[Problem]:
    """Yield what is wrong with a Service as far as the mesh depends on it."""
    yield from _annotation_problems(service.metadata, _SERVICE_GRAMMAR)
    if labels.RATE_BURST in service.metadata.annotations and labels.RATE_LIMIT not in service.metadata.annotations:
        path = f"$.metadata.annotations[{labels.RATE_BURST!r}]"
        yield Problem(path=path, message=f"it has no effect without {labels.RATE_LIMIT}", warning=True)
    seen: set[tuple[str, int]] = set()
    names: set[str] = set()
    for index, port in enumerate(service.spec.ports):
        path = f"$.spec.ports[{index}]"
        if (port.protocol, port.port) in seen:
            message = f"port {port.port}/{port.protocol} is there twice"
            yield Problem(path=path, message=message, remedy="take one out")
        if port.name in names:
            message = f"port name {port.name!r} is there twice" if port.name else "several ports need names"
            yield Problem(path=path, message=message, remedy="name each port")
        if isinstance(port.target_port, int) and not 1 <= port.target_port <= 65535:
            yield Problem(path=f"{path}.targetPort", message=f"{port.target_port} is not a port", remedy="1 to 65535")
        seen.add((port.protocol, port.port))
        names.add(port.name)
