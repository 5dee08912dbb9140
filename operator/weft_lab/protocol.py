"""What the command line and a lab's daemon say to each other over the lab's unix socket: one request, one answer, JSON."""

from typing import Literal, TypeAlias

import msgspec


class Request(msgspec.Struct, frozen=True, kw_only=True, tag_field="verb", tag=str.lower):
    """Base of all requests; the class name in lower case is the verb."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One document with its place, for the problems."""

    source: str
    body: dict[str, object]


class Apply(Request, frozen=True, kw_only=True):
    """Make the lab have these objects."""

    documents: tuple[Source, ...]
    namespace: str = "default"


class Delete(Request, frozen=True, kw_only=True):
    """Remove objects, named `kind/namespace/name` as `Reference` has it."""

    references: tuple["Reference", ...]
    grace_s: float | None = None


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """Names objects: one by its name, or all of a kind."""

    kind: str
    namespace: str | None = "default"
    """None: all namespaces."""
    name: str | None = None
    selector: dict[str, str] = msgspec.field(default_factory=dict)


class Get(Request, frozen=True, kw_only=True):
    """Show objects."""

    reference: Reference


class FindPod(Request, frozen=True, kw_only=True):
    """Find the pod that a word means: `web-0`, `pod/web-0`, `deploy/web`."""

    word: str
    namespace: str = "default"


class Join(Request, frozen=True, kw_only=True):
    """Say how to run a command in a container."""

    namespace: str
    pod: str
    container: str | None
    command: tuple[str, ...]
    terminal: str | None = None
    """Value of TERM where the caller has a terminal."""


class Enter(Request, frozen=True, kw_only=True):
    """Say how to run a command on a node."""

    node: str
    command: tuple[str, ...]


class Logs(Request, frozen=True, kw_only=True):
    """Say where the log of a container is."""

    namespace: str
    pod: str
    container: str | None
    previous: bool = False


class Watch(Request, frozen=True, kw_only=True):
    """Answer once the objects are newer than a revision, or when the time is over."""

    after: int
    timeout_s: float


class Status(Request, frozen=True, kw_only=True):
    """Say how the lab is."""


AnyRequest: TypeAlias = Apply | Delete | Get | FindPod | Join | Enter | Logs | Watch | Status

Outcome = Literal["created", "configured", "unchanged", "refused", "deleted"]


class ProblemText(msgspec.Struct, frozen=True, kw_only=True):
    """One problem as a line."""

    text: str
    warning: bool


class ObjectOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one document or reference."""

    resource: str
    """`deployment.apps/web`."""
    namespace: str
    outcome: Outcome


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `Apply` and `Delete`."""

    outcomes: tuple[ObjectOutcome, ...]
    problems: tuple[ProblemText, ...] = ()
    revision: int = 0


class Objects(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `Get`: documents as the Kubernetes API would show them."""

    kind: str
    items: tuple[dict[str, object], ...]
    revision: int


class PodFound(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `FindPod`."""

    namespace: str
    name: str


class OrderFound(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `Join` and `Enter`: an order of `weft_lab.container.order`, as JSON."""

    order: dict[str, object]
    container: str = ""


class LogFound(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `Logs`."""

    path: str
    container: str
    pid: int
    """The container's first process while it runs, else 0."""


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `Watch`."""

    revision: int


class AgentStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One node's agent."""

    state: Literal["off", "starting", "running", "ready", "restarting"]
    pid: int = 0
    restarts: int = 0
    current: bool = False
    """Whether all its workers enforce what was compiled last."""
    message: str = ""


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One node."""

    name: str
    addresses: tuple[str, ...]
    pods: int
    ready_pods: int
    agent: AgentStatus


class LabStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `Status`."""

    name: str
    pid: int
    revision: int
    nodes: tuple[NodeStatus, ...]
    pods: int
    ready_pods: int
    compiled_revision: int
    problems: tuple[ProblemText, ...] = ()


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """The request could not be carried out; `error` is a sentence for people."""

    error: str
    missing: bool = False
    """True where what was named does not exist."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """Every answer: one of the two is set."""

    result: msgspec.Raw = msgspec.Raw(b"null")
    failure: Failure | None = None
