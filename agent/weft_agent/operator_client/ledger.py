"""What this node holds of the operator's resources: what is told to workers, what was refused, what may be acknowledged.

Theory of operation. `entries` is what workers are told: one immutable mapping per state, replaced and never changed. A change
goes through three steps:

1. `judge` looks at each resource alone (hash, schema, key, node); it needs no ledger and may run in a thread.
2. `take` puts what was judged good into `entries` and remembers what it replaced; what was judged bad stays out, so its last
   good version stays in force. The change is *in flight* until every worker has it.
3. `confirm` hears what workers refused. A refused version is replaced by the one before it, so that a worker that starts
   later gets the last good version too. Where there is none, it stays: workers put in its place what refuses
   (`weft_core.snapshot.checks.stand_in`).

`confirmed` is the state after the last confirmation, which alone is worth a snapshot on disk. `have` tells the operator what
is held. A resource whose present version is refused or in flight is named with its last good hash, or with `UNSURE`, which
equals no hash: the operator then sends it again, or removes it, and hears again what came of it. So no refusal is lost with
the session that heard it.

Rules for editors: a key never leaves `have` while workers may know it or it is among `refusals`; an Ack only ever names a hash
that was sent.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

from weft_agent.control.config_source import Config, Origin
from weft_agent.control.desired import Entries
from weft_agent.operator_client.assembly import Change
from weft_agent.operator_client.content_digest import ContentDigest
from weft_contract.codec import decode_resource, digest
from weft_contract.identity import check_trust_domain, parse_spiffe_id
from weft_contract.problems import ContractError
from weft_contract.resources import Node, Resource, TrustBundle, Workload, resource_key
from weft_contract.stream import Ack, Hash, Key

UNSURE: Final = ""
"""A hash that no resource has."""

MAX_REASON_CHARACTERS: Final = 500


@dataclass(frozen=True, slots=True)
class Judged:
    """A change whose resources were looked at."""

    change: Change
    known: Mapping[Key, Resource]
    """The good ones that control itself reads: Node, Workload, TrustBundle."""
    bad: Mapping[Key, str]
    """Why others cannot be used."""


@dataclass(frozen=True, slots=True)
class WorkerRefusal:
    """A worker did not take a resource over."""

    generation: int
    key: Key
    reason: str


@dataclass(slots=True)
class _InFlight:
    """What workers were told and have not confirmed."""

    nonces: list[int] = field(default_factory=list)
    before: dict[Key, tuple[Hash, bytes] | None] = field(default_factory=dict)
    """What was good before the first change in flight; None: nothing."""
    since: dict[Key, int] = field(default_factory=dict)
    """The generation that the present version of a resource came with."""
    refused: dict[Key, tuple[Hash, str]] = field(default_factory=dict)
    """By control itself, before any worker was asked."""


def judge(change: Change, node: str) -> Judged:
    """Look at each resource of a change alone.

    Args:
        change: from the assembly or a snapshot.
        node: whose agent this is.
    """
    known: dict[Key, Resource] = {}
    bad: dict[Key, str] = {}
    for key, (content_hash, body) in change.upserts.items():
        try:
            resource = _read(key, content_hash, body, node)
        except ValueError as exc:
            bad[key] = str(exc)[:MAX_REASON_CHARACTERS]
        else:
            if isinstance(resource, Node | Workload | TrustBundle):
                known[key] = resource
    return Judged(change, known, bad)


def _read(key: Key, content_hash: Hash, body: bytes, node: str) -> Resource:
    if digest(body) != content_hash:
        raise ValueError(f"its content has the hash {digest(body)}, not {content_hash}")
    try:
        resource = decode_resource(body)
    except ContractError as exc:
        raise ValueError(f"this agent cannot read it ({exc}); is the operator of a newer version?") from exc
    if resource_key(resource) != key:
        raise ValueError(f"its key should be {resource_key(resource)}")
    _check_known(resource, node)
    return resource


def _check_known(resource: Resource, node: str) -> None:
    """Check what control itself works with before any worker has judged it.

    Raises:
        ValueError: it cannot be used.
    """
    match resource:
        case Node(name=name, trust_domain=trust_domain):
            if name != node:
                raise ValueError(f"it describes node {name!r}, this agent is of {node!r}")
            check_trust_domain(trust_domain)
        case Workload(identity=identity, addresses=addresses):
            parse_spiffe_id(identity)
            for address in addresses:
                ip_address(address)
        case TrustBundle(trust_domain=trust_domain):
            check_trust_domain(trust_domain)
        case _:
            return


class Ledger:
    """The resources of one node."""

    def __init__(self) -> None:
        self.entries: Entries = {}
        self.confirmed: Entries | None = None
        """None until something was confirmed."""
        self.refusals: dict[Key, tuple[Hash, str]] = {}
        """Hash and reason of each resource whose newest version is not in force."""
        self._stood_in_for: dict[Key, tuple[Hash, str]] = {}
        """Hash and reason of what is in `entries` though workers refused it, since nothing good came before."""
        self._known: dict[Key, Resource] = {}
        self._digest = ContentDigest()
        self._flight = _InFlight()

    # -- what is held ---------------------------------------------------------------------------------------------

    def have(self) -> dict[Key, Hash]:
        """Return what the operator is told at the beginning of a session."""
        found = {key: content_hash for key, (content_hash, _) in self.entries.items()}
        nowhere = (key for key in self.refusals if key not in found)
        return found | dict.fromkeys((*self._stood_in_for, *self._flight.before, *nowhere), UNSURE)

    def config(self, origin: Origin) -> Config:
        """Return the present state as a configuration."""
        known = self._known.values()
        return Config(
            digest=self._digest.text,
            origin=origin,
            node=next((item for item in known if isinstance(item, Node)), None),
            workloads=tuple(item for item in known if isinstance(item, Workload)),
            bundles=tuple(item for item in known if isinstance(item, TrustBundle)),
            entries=self.entries,
        )

    # -- changes --------------------------------------------------------------------------------------------------

    def take(self, judged: Judged, generation: int) -> None:
        """Put a change into `entries`.

        Args:
            judged: the change.
            generation: the number under which workers will be told.
        """
        change, flight = judged.change, self._flight
        flight.nonces += change.nonces
        entries = dict(self.entries)
        for key in change.removes:
            self._replace(entries, key, None, None, generation)
        for key, item in change.upserts.items():
            if (reason := judged.bad.get(key)) is not None:
                flight.refused[key] = self.refusals[key] = (item[0], reason)
            elif self.entries.get(key) == item:
                self._hear_again(key)
            else:
                self._replace(entries, key, item, judged.known.get(key), generation)
        self.entries = entries

    def _replace(
        self,
        entries: dict[Key, tuple[Hash, bytes]],
        key: Key,
        item: tuple[Hash, bytes] | None,
        resource: Resource | None,
        generation: int,
    ) -> None:
        flight = self._flight
        flight.before.setdefault(key, self._good(key))
        flight.since[key] = generation
        flight.refused.pop(key, None)
        self.refusals.pop(key, None)
        self._put(entries, key, item, resource)

    def _hear_again(self, key: Key) -> None:
        """Note that the version that workers have already was sent again: nobody asks them, so their answer stands."""
        refused = self._stood_in_for.get(key)
        if refused is not None:
            self._flight.refused[key] = self.refusals[key] = refused
        else:
            self.refusals.pop(key, None)
            self._flight.refused.pop(key, None)

    def _good(self, key: Key) -> tuple[Hash, bytes] | None:
        """Return the version of a resource that workers have in force."""
        return None if key in self._stood_in_for else self.entries.get(key)

    def _put(
        self,
        entries: dict[Key, tuple[Hash, bytes]],
        key: Key,
        item: tuple[Hash, bytes] | None,
        resource: Resource | None,
    ) -> None:
        old = entries.pop(key, None)
        self._known.pop(key, None)
        self._stood_in_for.pop(key, None)
        if old is not None:
            self._digest.remove(key, old[0])
        if item is not None:
            entries[key] = item
            self._digest.add(key, item[0])
            if resource is not None:
                self._known[key] = resource

    def confirm(self, refused: Iterable[WorkerRefusal]) -> tuple[tuple[Ack, ...], bool]:
        """Note that every worker has everything that is in flight.

        Args:
            refused: what workers told since the last confirmation.

        Returns:
            The acknowledgements, in order, and whether `entries` changed because something was refused.
        """
        flight, self._flight = self._flight, _InFlight()
        told = dict(flight.refused)
        good: dict[Key, tuple[Hash, bytes]] = {}
        for refusal in refused:
            key = refusal.key
            if refusal.generation < flight.since.get(key, refusal.generation + 1):
                continue  # of a version that is not the present one, or of one that was judged before
            item, before = self.entries.get(key), flight.before[key]
            self.refusals[key] = (item[0] if item else UNSURE, refusal.reason[:MAX_REASON_CHARACTERS])
            if item is not None:  # an Ack cannot say that a removal was refused
                told[key] = self.refusals[key]
            if before is not None and before != item:
                good[key] = before
            elif before is None and item is not None:
                self._stood_in_for[key] = self.refusals[key]
        if good:
            self._go_back(good)
        self.confirmed = self.entries
        answers = tuple((key, content_hash, reason) for key, (content_hash, reason) in sorted(told.items()))
        return tuple(Ack(nonce=nonce, refused=answers) for nonce in flight.nonces), bool(good)

    def _go_back(self, good: Mapping[Key, tuple[Hash, bytes]]) -> None:
        entries = dict(self.entries)
        for key, item in good.items():
            self._put(entries, key, item, _known(item[1]))
        self.entries = entries

    def forget_nonces(self) -> None:
        """Note that the session ended: what is in flight is acknowledged to nobody."""
        self._flight.nonces.clear()


def _known(body: bytes) -> Resource | None:
    """Return what control reads itself of a resource that was good before."""
    resource = decode_resource(body)
    return resource if isinstance(resource, Node | Workload | TrustBundle) else None
