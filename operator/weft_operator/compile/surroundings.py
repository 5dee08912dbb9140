"""What an object that is right in itself meets in the cluster as it is now: told at admission, as warnings. Pure.

Only what a typing error causes, and what is cheap to find: names of Services that are not there and labels that no pod has.
Everything else is said by the conditions, which are about the object in force, and which are told again when things change.
"""

from collections.abc import Iterator, Mapping, Sequence

from weft_contract import objects
from weft_contract.objects import ROOT_NAMESPACE, AuthorizationPolicy, Object, RateLimitPolicy, RouteObject
from weft_contract.problems import Problem
from weft_operator.compile.references import service_parents
from weft_operator.compile.view import ClusterView


def surrounding_problems(view: ClusterView, item: Object) -> list[Problem]:
    """Return what an object should be told of its surroundings.

    Args:
        view: everything else; it may change meanwhile.
        item: the object.
    """
    if isinstance(item, AuthorizationPolicy | RateLimitPolicy):
        return [*_targets(view, item), *_selector(view, item)]
    if isinstance(item, objects.PeerAuthentication):
        return [*_selector(view, item)]
    if isinstance(item, RouteObject):
        return [*_parents(view, item), *_backends(view, item)]
    return []


def _targets(view: ClusterView, item: AuthorizationPolicy | RateLimitPolicy) -> Iterator[Problem]:
    for number, target in enumerate(item.spec.target_refs):
        key = f"{item.metadata.namespace}/{target.name}"
        if target.kind == "Service" and key not in view.services:
            message = f"Service {key} is not there, so the policy does not hold for it yet"
            yield _warning(f"$.spec.targetRefs[{number}].name", message)


def _selector(
    view: ClusterView, item: AuthorizationPolicy | RateLimitPolicy | objects.PeerAuthentication
) -> Iterator[Problem]:
    selector, namespace = item.spec.selector, item.metadata.namespace
    if selector is None or not selector.match_labels:
        return
    pods = [
        pod for pod in list(view.pods.values()) if namespace == ROOT_NAMESPACE or pod.metadata.namespace == namespace
    ]
    if pods and not any(_has(pod.metadata.labels, selector.match_labels) for pod in pods):
        labels = ", ".join(f"{key}={value}" for key, value in sorted(selector.match_labels.items()))
        message = f"no pod has the labels {labels:.200}, so the policy holds for none yet"
        yield _warning("$.spec.selector.matchLabels", message)


def _has(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return wanted.items() <= labels.items()


def _parents(view: ClusterView, route: RouteObject) -> Iterator[Problem]:
    for number, parent in enumerate(route.spec.parent_refs):
        key = f"{parent.namespace or route.metadata.namespace}/{parent.name}"
        if parent in service_parents(route) and key not in view.services:
            message = f"Service {key} is not there, so the route is attached to nothing yet"
            yield _warning(f"$.spec.parentRefs[{number}].name", message)


def _backends(view: ClusterView, route: RouteObject) -> Iterator[Problem]:
    if not service_parents(route):
        return
    for number, references in enumerate(_rules(route)):
        for place, backend in enumerate(references):
            key = f"{backend.namespace or route.metadata.namespace}/{backend.name}"
            if (backend.group or "", backend.kind or "Service") == ("", "Service") and key not in view.services:
                message = f"Service {key} is not there, so its share of the traffic is refused"
                yield _warning(f"$.spec.rules[{number}].backendRefs[{place}].name", message)


def _rules(route: RouteObject) -> Sequence[Sequence[objects.BackendReference]]:
    return [rule.backend_refs for rule in route.spec.rules]


def _warning(path: str, message: str) -> Problem:
    return Problem(path=path, message=message, warning=True)
