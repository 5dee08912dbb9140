"""What each kind is called on the command line, and which columns `kubectl get` shows.

Short names begin with `w`: the ones people would think of first (`ap`, `pa`) belong to Istio, which may be installed beside
us, and an alias that two groups claim goes to whichever the API server happens to list first. The category `mesh` lists all
kinds at once (`kubectl get mesh -A`); since a category is looked up before a singular name, the Mesh object itself is read
as `kubectl get meshes` or `kubectl get wmesh`.
"""

from dataclasses import dataclass
from typing import Final

from weft_contract.objects import AuthorizationPolicy, Mesh, OwnObject, PeerAuthentication, RateLimitPolicy

CATEGORY: Final = "mesh"


@dataclass(frozen=True, slots=True, kw_only=True)
class KindNames:
    """Names of one kind."""

    python_type: type[OwnObject]
    plural: str
    short: str
    namespaced: bool = True

    @property
    def kind(self) -> str:
        """The kind, `RateLimitPolicy`."""
        return self.python_type.__name__

    @property
    def singular(self) -> str:
        """The kind in lower case, as `kubectl` prints it."""
        return self.kind.lower()


NAMES: Final = (
    KindNames(python_type=AuthorizationPolicy, plural="authorizationpolicies", short="wauthz"),
    KindNames(python_type=Mesh, plural="meshes", short="wmesh", namespaced=False),
    KindNames(python_type=PeerAuthentication, plural="peerauthentications", short="wpeer"),
    KindNames(python_type=RateLimitPolicy, plural="ratelimitpolicies", short="wrate"),
)
"""Every kind of our group that is installed; a kind that is not carried out yet has no CRD, so that nobody can create one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of `kubectl get`."""

    name: str
    path: str
    description: str
    wide: bool = False
    type: str = "string"

    def document(self) -> dict[str, object]:
        """Return the column as a CRD writes it."""
        parts: dict[str, object] = {"name": self.name, "type": self.type, "jsonPath": self.path}
        parts["description"] = self.description
        return {**parts, "priority": 1} if self.wide else parts


COLUMNS: Final = (
    Column(name="Target", path=".status.target", description="What it is attached to."),
    Column(
        name="Accepted",
        path='.status.conditions[?(@.type=="Accepted")].status',
        description="Whether it is valid and carried out.",
    ),
    Column(name="Programmed", path=".status.nodes", description="Nodes where it is in force, of those that need it."),
    Column(name="Age", path=".metadata.creationTimestamp", description="Time since it was created.", type="date"),
    Column(name="Conflicts", path=".status.conflicts", description="The object that overrides this one.", wide=True),
    Column(
        name="Reason",
        path='.status.conditions[?(@.type=="Programmed")].reason',
        description="Why it is in force, or why not.",
        wide=True,
    ),
)
