"""Following a call: what its caller's agent makes of the destination, and then what each place it may arrive at decides.

Theory: the steps are those of the data plane (`weft_agent.proxy.outbound_http`, `outbound`), with the same functions: `classify`
reads the destination, the router of the caller's namespace knows every outcome with its share, `apply_request` makes the request
as it arrives, and the destination's policy judges that. A caller outside the mesh has no agent: its call arrives as it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from weft_cli.explain.answer import Answer, Leg
from weft_cli.explain.finding import Finder
from weft_cli.explain.landing import Caller, land
from weft_cli.explain.question import Named, Target
from weft_cli.explain.world import World
from weft_cli.output import CommandError
from weft_contract.identity import parse_spiffe_id
from weft_core.canonical import canonical_host, canonical_target
from weft_core.errors import RemoteProtocolError
from weft_core.facts import Header, RequestFacts
from weft_core.routing import Forward, Outcome, RedirectTo, Refused, apply_request, redirect_response
from weft_core.snapshot import Destination, ToService
from weft_core.text import show_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the call says."""

    method: str
    path: str
    host: str
    headers: tuple[Header, ...]
    opaque: bool


class Journey:
    """One call.

    Args:
        world: the cluster.
        caller: who calls.
        asked: what is sent.
    """

    def __init__(self, world: World, caller: Named, asked: Asked) -> None:
        pod = world.find_pod(caller)
        member = world.members.get(pod.metadata.key)
        identity = parse_spiffe_id(member.identity) if member is not None else None
        self._world = world
        self._asked = asked
        self._caller = Caller(pod, identity, world.node_of.get(pod.metadata.key, pod.spec.node_name))
        self._snapshot = world.snapshot(self._caller.node if member is not None else "")
        self._identity = str(member.identity) if member is not None else ""
        self._finder = Finder(world, self._snapshot if member is not None else None)

    def to(self, target: Target) -> Answer:
        """Return what becomes of the call.

        Raises:
            CommandError: the target is not there, or the request is one that agents refuse to read.
        """
        destination, name = self._finder.find(target)
        opaque = self._asked.opaque or not _speaks_http(destination)
        request = None if opaque else self._request(self._asked.host or target.host or _host_of(target))
        if self._identity:
            legs = tuple(self._legs(destination, name, request))
        else:
            legs = (self._by_kubernetes(destination, name, request),)
        shown = "" if request is None else f"{show_bytes(request.method)} {show_bytes(request.path)}"
        return Answer(
            source=self._caller.key,
            identity=self._identity,
            node=self._caller.node,
            destination=name,
            request=shown + (f", host {show_bytes(request.host)}" if request is not None and request.host else ""),
            legs=legs,
            warnings=tuple(self._warnings()),
        )

    # -- reading ------------------------------------------------------------------------------------------------------

    def _request(self, host: str) -> RequestFacts:
        asked = self._asked
        try:
            target = canonical_target(asked.path.encode(), asked.method.encode())
            return RequestFacts(
                method=asked.method.encode(),
                host=canonical_host(host.encode()),
                path=target.path,
                query=target.query,
                headers=asked.headers,
            )
        except RemoteProtocolError as exc:
            raise CommandError(f"agents refuse such a request with {exc.status}: {exc}") from exc

    # -- following ----------------------------------------------------------------------------------------------------

    def _legs(self, destination: Destination, name: str, request: RequestFacts | None) -> Iterator[Leg]:
        if not isinstance(destination, ToService):
            landings = land(self._world, self._caller, (destination.endpoint,), request)
            yield Leg(share=1.0, action="forward", to=name, landings=tuple(landings))
            return
        entry, namespace = destination.entry, self._caller.namespace
        if request is not None:
            outcomes = self._snapshot.router(entry.key, entry.port.port, namespace).outcomes(request)
        else:
            outcomes = self._snapshot.tcp_router(entry.key, entry.port.port, namespace).outcomes()
        for outcome, share in outcomes:
            yield self._leg(outcome, share, entry.port.port, request)

    def _leg(self, outcome: Outcome, share: float, port: int, request: RequestFacts | None) -> Leg:
        match outcome:
            case Refused():
                return _refusal(outcome, share)
            case RedirectTo():
                return _redirect(outcome, share, port, request)
            case Forward():
                return self._forwarded(outcome, share, request)

    def _forwarded(self, outcome: Forward, share: float, request: RequestFacts | None) -> Leg:
        to = f"{outcome.service}:{outcome.port}"
        backend = self._snapshot.backend(outcome)
        if isinstance(backend, Refused):
            return _refusal(backend, share, to)
        arriving = _edited(outcome, request) if request is not None else None
        return Leg(
            share=share,
            action="forward",
            route=outcome.route,
            rule=outcome.rule,
            to=to,
            detail=_changes(outcome, request, arriving),
            landings=tuple(land(self._world, self._caller, backend.endpoints, arriving)),
        )

    def _by_kubernetes(self, destination: Destination, name: str, request: RequestFacts | None) -> Leg:
        endpoints = destination.entry.endpoints if isinstance(destination, ToService) else (destination.endpoint,)
        detail = f"{self._caller.key} is not in the mesh: its call arrives in plaintext, no route of the mesh applies"
        landings = land(self._world, self._caller, endpoints, request)
        return Leg(share=1.0, action="forward", to=name, detail=detail, landings=tuple(landings))

    def _warnings(self) -> Iterator[str]:
        absence = self._world.absence(self._world.pods[self._caller.key])
        if absence:
            yield absence


def _refusal(outcome: Refused, share: float, to: str = "") -> Leg:
    return Leg(
        share=share, action="refuse", route=outcome.route, rule=outcome.rule, to=to, detail=outcome.message,
        status=outcome.error.http_status,
    )  # fmt: skip


def _redirect(outcome: RedirectTo, share: float, port: int, request: RequestFacts | None) -> Leg:
    target, host = (_target(request), request.host) if request is not None else (b"/", b"")
    answer = redirect_response(outcome, target=target, host=host, port=port)
    return Leg(
        share=share, action="redirect", route=outcome.route, rule=outcome.rule, status=answer.status,
        detail=f"Location: {show_bytes(answer.location)}",
    )  # fmt: skip


def _target(request: RequestFacts) -> bytes:
    return request.path + (b"?" + request.query if request.query else b"")


def _edited(forward: Forward, request: RequestFacts) -> RequestFacts:
    """Return the request as the destination gets it."""
    block = b"".join(b"%b: %b\r\n" % header for header in request.headers)
    target, block, host = apply_request(forward, _target(request), block, request.host)
    path, _, query = target.partition(b"?")
    lines = [line.partition(b":") for line in block.split(b"\r\n") if line]
    headers = tuple((name.lower(), value.strip()) for name, _, value in lines)
    return RequestFacts(method=request.method, host=host, path=path, query=query, headers=headers)


def _changes(forward: Forward, before: RequestFacts | None, after: RequestFacts | None) -> str:
    said: list[str] = []
    if before is not None and after is not None:
        if _target(before) != _target(after):
            said.append(f"path becomes {show_bytes(_target(after))}")
        if before.host != after.host:
            said.append(f"host becomes {show_bytes(after.host)}")
        if before.headers != after.headers:
            said.append("headers are changed")
    for name, limit_s in (("request", forward.request_timeout_s), ("each attempt", forward.backend_timeout_s)):
        if limit_s is not None:
            said.append(f"{name} may take {limit_s:g} s")
    return "; ".join(said)


def _speaks_http(destination: Destination) -> bool:
    return destination.protocol in ("http", "auto")


def _host_of(target: Target) -> str:
    return target.named.name if target.named is not None else target.address
