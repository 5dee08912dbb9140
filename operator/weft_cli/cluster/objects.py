"""The objects that the compiler reads, listed from a cluster as documents; kinds that are not installed are left out."""

from dataclasses import dataclass
from typing import Final

from weft_cli.cluster.session import Body, Session
from weft_contract.labels import GATEWAY_EXPERIMENTAL_GROUP, GATEWAY_GROUP, GROUP
from weft_operator.access import ApiError, NotFoundError
from weft_operator.compile import Document

NATIVE: Final = (
    "/api/v1/namespaces",
    "/api/v1/nodes",
    "/api/v1/pods",
    "/api/v1/services",
    "/apis/discovery.k8s.io/v1/endpointslices",
    "/apis/apps/v1/replicasets",
)
GATEWAY_KINDS: Final = {
    GATEWAY_GROUP: frozenset({"HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute", "ReferenceGrant"}),
    GATEWAY_EXPERIMENTAL_GROUP: frozenset({"XBackendTrafficPolicy"}),
}
"""What is read of the Gateway API, by group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What a cluster holds that is the mesh's business."""

    documents: tuple[Document, ...]
    unreadable: tuple[str, ...]
    """Collections that this user may not list, with the server's words."""


@dataclass(frozen=True, slots=True)
class Collection:
    """Where objects of a kind are listed."""

    kind: str
    path: str


def custom_collections(session: Session, group: str) -> list[Collection]:
    """Return the collections of an API group, each kind in the newest version that is served; none: it is not installed.

    Raises:
        ApiError: the server refused.
    """
    try:
        served = session.get(f"/apis/{group}")
    except NotFoundError:
        return []
    preferred = (served.get("preferredVersion") or {}).get("version", "")
    versions = [str(item.get("version")) for item in served.get("versions") or ()]
    found: dict[str, Collection] = {}
    for version in sorted(versions, key=lambda name: name != preferred):
        for resource in session.get(f"/apis/{group}/{version}").get("resources") or ():
            kind, name = str(resource.get("kind")), str(resource.get("name"))
            if "/" not in name and "list" in (resource.get("verbs") or ()):
                found.setdefault(kind, Collection(kind, f"/apis/{group}/{version}/{name}"))
    return [found[kind] for kind in sorted(found)]


def fetch(session: Session) -> Fetched:
    """List everything that the compiler reads.

    Raises:
        ApiError: the server failed; a collection that may not be listed is named in the answer instead.
    """
    paths = [*NATIVE, *(item.path for item in custom_collections(session, GROUP))]
    for group, kinds in GATEWAY_KINDS.items():
        paths += [item.path for item in custom_collections(session, group) if item.kind in kinds]
    documents: list[Document] = []
    unreadable: list[str] = []
    for path in paths:
        try:
            documents += [document(item) for item in session.everything(path)]
        except ApiError as exc:
            if exc.status != 403:
                raise
            unreadable.append(str(exc))
    return Fetched(documents=tuple(documents), unreadable=tuple(unreadable))


def document(item: Body) -> Document:
    """Return an object as the compiler takes it; its place is its name, since there is no file."""
    metadata = item.get("metadata") or {}
    namespace, name = metadata.get("namespace"), metadata.get("name")
    place = f"{namespace}/{name}" if namespace else str(name)
    return Document(source=f"cluster: {item.get('kind')} {place}", body=item)
