"""Object metadata as the Kubernetes API has it: names, labels, owners, times."""

from datetime import datetime

from msgspec import field

from weft_contract.objects.shape import Foreign, Labels


class OwnerReference(Foreign, frozen=True, kw_only=True):
    """Who made this object."""

    kind: str
    name: str
    api_version: str = ""
    uid: str = ""
    controller: bool = False


class Metadata(Foreign, frozen=True, kw_only=True):
    """What every object has; of a pod template only labels and annotations are given."""

    name: str = ""
    namespace: str = ""
    """Empty for kinds without a namespace; `decode_object` fills in `default` for the others."""
    uid: str = ""
    labels: Labels = field(default_factory=dict)
    annotations: Labels = field(default_factory=dict)
    generation: int = 0
    creation_timestamp: str = ""
    deletion_timestamp: str = ""
    owner_references: tuple[OwnerReference, ...] = ()

    @property
    def key(self) -> str:
        """`namespace/name`, or the name alone for kinds without a namespace."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def controller(self) -> OwnerReference | None:
        """The owner that made the object and keeps it."""
        return next((item for item in self.owner_references if item.controller), None)

    @property
    def created_unix_s(self) -> float:
        """Creation time; 0 where it is not known, as in files."""
        return unix_s(self.creation_timestamp)


def unix_s(text: str) -> float:
    """Return the RFC 3339 time `text` in seconds since 1970; 0 where it is empty or not a time with a zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    return moment.timestamp() if moment.tzinfo else 0.0


class Selector(Foreign, frozen=True, kw_only=True):
    """A label selector of workload kinds."""

    match_labels: Labels = field(default_factory=dict)
