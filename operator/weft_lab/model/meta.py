"""Object metadata, keys and conditions, as the Kubernetes API has them."""

from typing import Literal, NamedTuple

import msgspec


class Model(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of the lab's structs: Kubernetes' field names, immutable, defaults left out when shown.

    Unknown fields do not fail the decoding; `weft_lab.model.decode` finds and reports them.
    """


class Key(NamedTuple):
    """What names an object; `namespace` is empty for kinds without one."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """Give the form of messages: `Pod shop/web`."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


class OwnerReference(Model, frozen=True, kw_only=True):
    """The object that made this one, and with which it goes."""

    api_version: str
    kind: str
    name: str
    uid: str = ""
    controller: bool = False
    block_owner_deletion: bool = False


class Metadata(Model, frozen=True, kw_only=True):
    """Metadata of any object."""

    name: str = ""
    namespace: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()
    generate_name: str = ""


class Condition(Model, frozen=True, kw_only=True):
    """One condition of a status."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None
    observed_generation: int | None = None


class LabelRequirement(Model, frozen=True, kw_only=True):
    """One term of `matchExpressions`."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()

    def matches(self, labels: dict[str, str]) -> bool:
        """Tell whether labels meet the term; as in Kubernetes, `NotIn` is met by absence."""
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels


class LabelSelector(Model, frozen=True, kw_only=True):
    """A label selector; an empty one selects everything."""

    match_labels: dict[str, str] = {}
    match_expressions: tuple[LabelRequirement, ...] = ()

    def matches(self, labels: dict[str, str]) -> bool:
        """Tell whether labels meet all terms."""
        return has_labels(labels, self.match_labels) and all(term.matches(labels) for term in self.match_expressions)


def has_labels(labels: dict[str, str], wanted: dict[str, str]) -> bool:
    """Tell whether every wanted label is there with its value."""
    return all(labels.get(key) == value for key, value in wanted.items())
