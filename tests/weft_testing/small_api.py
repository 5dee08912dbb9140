"""A small API server in this process: discovery, objects, lists, watches, status, generations. For tests of a whole operator.

It has what the operator and kopf use and no more: no schemas, no admission, no rights, no history of versions (a watch that
begins behind the newest version gets 410, unless nothing happened since). What hangs on the real one is tested against the
real one in `tests/cluster`; here the operator's parts meet each other, in seconds and without any program.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from weft_contract.stream import TOKEN_AUDIENCE
from weft_operator.access import Credentials
from weft_operator.controllers import WATCHED
from weft_operator.reflect import REFLECTED
from weft_testing.cluster.pki import Authority

Item = dict[str, Any]  # a Kubernetes object


@dataclass(frozen=True)
class Resource:
    """One kind that is served."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    has_status: bool = False

    @property
    def api_version(self) -> str:
        """`v1`, or `group/version`."""
        return f"{self.group}/{self.version}" if self.group else self.version


_CLUSTER_SCOPED: Final = frozenset({"Namespace", "Node", "Mesh"})
OWN: Final = tuple(
    Resource(
        each.group,
        each.versions[0].rpartition("/")[2],
        each.plural,
        each.kind,
        each.kind not in _CLUSTER_SCOPED,
        each.kind in WATCHED,
    )
    for each in REFLECTED.values()
)
OTHERS: Final = (
    Resource("", "v1", "secrets", "Secret"),
    Resource("", "v1", "configmaps", "ConfigMap"),
    Resource("coordination.k8s.io", "v1", "leases", "Lease"),
    Resource("events.k8s.io", "v1", "events", "Event"),
    Resource(
        "admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", False
    ),
    Resource(
        "admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", False
    ),
)


TOKEN_REVIEWS: Final = "/apis/authentication.k8s.io/v1/tokenreviews"


@dataclass(frozen=True)
class _Path:
    resource: Resource
    namespace: str
    name: str
    part: str


@dataclass
class SmallApi:
    """The server; itself an `Access` that reaches it."""

    resources: dict[str, Resource]
    server: str = ""
    roots_pem: str = ""
    objects: dict[str, dict[str, Item]] = field(default_factory=dict)
    """By plural, then by `namespace/name`."""
    away: bool = False
    """Every request is answered 503, and watches end."""
    tokens: dict[str, Item] = field(default_factory=dict)
    """What a TokenReview says of each token; of others that they are none."""
    writes: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of every request that wrote."""
    _version: Iterator[int] = field(default_factory=lambda: count(1))
    _last: int = 0
    _changed_at: dict[str, int] = field(default_factory=dict)
    _watchers: dict[str, list[asyncio.Queue[tuple[str, Item] | None]]] = field(default_factory=dict)

    def read(self) -> Credentials:
        """Return what reaches it."""
        return Credentials(server=self.server, roots_pem=self.roots_pem, token="t")

    def __str__(self) -> str:
        return "a test"

    # -- what a test does -----------------------------------------------------------------------------------------

    def put(self, item: Mapping[str, Any]) -> Item:
        """Create or change an object, as somebody else would."""
        (resource,) = [each for each in self.resources.values() if each.kind == item["kind"]]
        return self._store(resource, json.loads(json.dumps(item)))

    def get(self, plural: str, key: str) -> Item | None:
        """Return an object."""
        return self.objects.get(plural, {}).get(key)

    def remove(self, plural: str, key: str) -> None:
        """Delete an object."""
        item = self.objects[plural].pop(key)
        self._tell(plural, "DELETED", {**item, "metadata": {**item["metadata"], "resourceVersion": self._next()}})

    def admit_agent(self, node: str, namespace: str) -> str:
        """Make the pod of a node's agent; return its token."""
        metadata = {"name": f"weft-agent-{node}", "namespace": namespace}
        spec = {"nodeName": node, "serviceAccountName": "weft-agent", "containers": []}
        made = self.put({"kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": "Running"}})
        known = {"node-name": node, "pod-name": metadata["name"], "pod-uid": made["metadata"]["uid"]}
        extra = {f"authentication.kubernetes.io/{name}": [value] for name, value in known.items()}
        user = {"username": f"system:serviceaccount:{namespace}:weft-agent", "extra": extra}
        self.tokens[node] = {"authenticated": True, "audiences": [TOKEN_AUDIENCE], "user": user}
        return node

    def go_away(self) -> None:
        """Answer nothing any more, and end all watches."""
        self.away = True
        for queues in self._watchers.values():
            for queue in queues:
                queue.put_nowait(None)

    # -- storage --------------------------------------------------------------------------------------------------

    def _next(self) -> str:
        self._last = next(self._version)
        return str(self._last)

    def _store(self, resource: Resource, item: Item, part: str = "") -> Item:
        metadata = item["metadata"]
        key = f"{metadata['namespace']}/{metadata['name']}" if resource.namespaced else metadata["name"]
        table = self.objects.setdefault(resource.plural, {})
        old = table.get(key)
        if old is not None and part == "status":
            item = {**old, "status": item.get("status", {})}
        elif old is not None and resource.has_status:
            item = {**item, **({"status": old["status"]} if "status" in old else {})}
        generation = 1
        if old is not None:
            before = old["metadata"].get("generation", 1)
            generation = before + int(old.get("spec") != item.get("spec"))
        metadata = {"uid": f"uid-{self._last}", **item["metadata"], **({"uid": old["metadata"]["uid"]} if old else {})}
        metadata |= {"resourceVersion": self._next(), "generation": generation}
        stored = {"apiVersion": resource.api_version, "kind": resource.kind, **item, "metadata": metadata}
        table[key] = stored
        self._tell(resource.plural, "MODIFIED" if old is not None else "ADDED", stored)
        return stored

    def _tell(self, plural: str, what: str, item: Item) -> None:
        self._changed_at[plural] = self._last
        for queue in self._watchers.get(plural, ()):
            queue.put_nowait((what, item))

    # -- HTTP -----------------------------------------------------------------------------------------------------

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        if self.away:
            return _status(503, "ServiceUnavailable", "away")
        found = self._discovery(request.path) if request.method == "GET" else None
        if found is not None:
            return web.json_response(found)
        if request.method == "POST" and request.path == TOKEN_REVIEWS:
            asked = (await request.json())["spec"]["token"]
            return web.json_response({"status": self.tokens.get(asked, {"authenticated": False})}, status=201)
        path = self._parse(request.path)
        if path is None:
            return _status(404, "NotFound", f"the server could not find {request.path}")
        if request.method == "GET" and request.query.get("watch"):
            return await self._watch(request, path)
        if request.method == "GET":
            return self._read(path)
        self.writes.append((request.method, request.path))
        return self._write(request.method, path, await request.json() if request.can_read_body else {})

    def _discovery(self, path: str) -> Item | None:
        groups = sorted({each.group for each in self.resources.values() if each.group})
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            return {"kind": "APIGroupList", "groups": [self._group(name) for name in groups]}
        for each in self.resources.values():
            if path == f"/{'apis' if each.group else 'api'}/{each.api_version}":
                return {"kind": "APIResourceList", "resources": self._resource_list(each.api_version)}
        return None

    def _group(self, name: str) -> Item:
        versions = sorted({each.version for each in self.resources.values() if each.group == name})
        found = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
        return {"name": name, "versions": found, "preferredVersion": found[0]}

    def _resource_list(self, api_version: str) -> list[Item]:
        verbs = ["get", "list", "watch", "create", "update", "patch", "delete"]
        found: list[Item] = []
        for each in self.resources.values():
            if each.api_version == api_version:
                entry = {"name": each.plural, "kind": each.kind, "namespaced": each.namespaced, "verbs": verbs}
                found.append({**entry, "singularName": each.kind.lower()})
                if each.has_status:
                    found.append({**entry, "name": f"{each.plural}/status"})
        return found

    def _parse(self, path: str) -> _Path | None:
        parts = path.strip("/").split("/")
        parts = parts[2:] if parts[0] == "api" else parts[3:]
        namespace = ""
        if len(parts) >= 3 and parts[0] == "namespaces" and parts[2] in self.resources:
            namespace, parts = parts[1], parts[2:]
        resource = self.resources.get(parts[0]) if parts else None
        if resource is None or not path.startswith(f"/{'apis' if resource.group else 'api'}/{resource.api_version}/"):
            return None
        return _Path(resource, namespace, *[*parts[1:], "", ""][:2])

    def _read(self, path: _Path) -> web.Response:
        table = self.objects.get(path.resource.plural, {})
        if path.name:
            item = table.get(f"{path.namespace}/{path.name}" if path.resource.namespaced else path.name)
            return web.json_response(item) if item is not None else _status(404, "NotFound", f"{path.name} not found")
        items = [item for item in table.values() if path.namespace in ("", item["metadata"].get("namespace"))]
        metadata = {"resourceVersion": str(self._last)}
        return web.json_response({"kind": f"{path.resource.kind}List", "metadata": metadata, "items": items})

    def _write(self, method: str, path: _Path, body: Item) -> web.Response:
        resource, plural = path.resource, path.resource.plural
        name = path.name or body["metadata"]["name"]
        key = f"{path.namespace}/{name}" if resource.namespaced else name
        old = self.get(plural, key)
        if method == "POST":
            if old is not None:
                return _status(409, "AlreadyExists", f"{plural} {name} already exists")
            metadata = {**body["metadata"], **({"namespace": path.namespace} if resource.namespaced else {})}
            return web.json_response(self._store(resource, {**body, "metadata": metadata}), status=201)
        if old is None:
            return _status(404, "NotFound", f"{plural} {name} not found")
        if method == "DELETE":
            self.remove(plural, key)
            return web.json_response({"kind": "Status", "status": "Success"})
        wanted = body.get("metadata", {}).get("resourceVersion")
        if wanted and wanted != old["metadata"]["resourceVersion"]:
            return _status(409, "Conflict", "the object has been modified")
        return web.json_response(self._store(resource, body, path.part))

    async def _watch(self, request: web.Request, path: _Path) -> web.StreamResponse:
        plural = path.resource.plural
        response = web.StreamResponse()
        await response.prepare(request)
        if int(request.query.get("resourceVersion") or 0) < self._changed_at.get(plural, 0):
            error = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
            await response.write(json.dumps({"type": "ERROR", "object": error}).encode() + b"\n")
            return response
        queue: asyncio.Queue[tuple[str, Item] | None] = asyncio.Queue()
        self._watchers.setdefault(plural, []).append(queue)
        try:
            while (event := await queue.get()) is not None:
                if request.transport is None or request.transport.is_closing():
                    break
                await response.write(json.dumps({"type": event[0], "object": event[1]}).encode() + b"\n")
        finally:
            self._watchers[plural].remove(queue)
        return response


def _status(code: int, reason: str, message: str) -> web.Response:
    body = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}
    return web.json_response(body, status=code)


@asynccontextmanager
async def small_api(directory: Path, *absent: str) -> AsyncIterator[SmallApi]:
    """Serve on loopback.

    Args:
        directory: for its certificate.
        absent: plurals that are not served.
    """
    authority = Authority.make(directory)
    authority.issue("server", "server", names=["127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.crt", directory / "server.key")
    served = {each.plural: each for each in (*OWN, *OTHERS) if each.plural not in absent}
    api = SmallApi(served, roots_pem=authority.certificate_pem.decode())
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        host, port = runner.addresses[0][:2]
        api.server = f"https://{host}:{port}"
        yield api
    finally:
        api.go_away()
        await runner.cleanup()
