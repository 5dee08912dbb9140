"""The authority in its Secret: made once by whichever replica is first, read by all, changed by the leader alone.

Theory: the Secret is the truth and is written with the version it was read at, so that two leaders could not both take a step.
Every replica reads it again every few seconds and signs with what it says. What cannot be read any more (the Secret gone,
damaged, the API server away) changes nothing: the last good state signs on, an alarm tells, and nothing is ever written over
it. Steps are `rotation`'s; who leads, and which nodes have the roots in force, is told by the caller.
"""

import asyncio
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import structlog

from weft_contract.labels import GROUP
from weft_operator.access import ApiError, ConflictError, ExistsError
from weft_operator.ca.alarms import Alarm, alarms
from weft_operator.ca.authority import Authority, CaError, PublicKey, ServerCertificate
from weft_operator.ca.issuer import Issuer, read_issuer
from weft_operator.ca.rotation import DEFAULT_PACE, Facts, Pace, Step, Wish, advance, begin, decide
from weft_operator.ca.state import CaState, decode_state, encode_state, not_after, signing_key

STATE_KEY: Final = "ca.json"
ROOTS_KEY: Final = "roots.pem"
"""The bundle alone, for people and tools."""
ROTATE: Final = f"{GROUP}/rotate"
"""Annotation of the Secret, `root` or `intermediate`: replace it now. Taken away when it is done."""
REFRESH_S: Final = 5.0
_WISHES: Final[dict[str, Wish]] = {"root": "root", "intermediate": "intermediate"}
_log: Final = structlog.get_logger("weft_operator.ca")

Body = dict[str, Any]  # a Kubernetes object: JSON whose shape the API server knows
Lacking = Callable[[str, Sequence[str]], tuple[str, ...] | None]
"""Which nodes do not have exactly these roots of this trust domain in force; None: not known."""


class Api(Protocol):
    """What is asked of the API server."""

    async def get(self, path: str) -> Body | None:
        """Return an object; None: it is not there."""

    async def create(self, path: str, item: Mapping[str, object]) -> Body:
        """Create an object."""

    async def replace(self, path: str, item: Mapping[str, object]) -> Body:
        """Replace an object at the version it was read at."""


class KeptAuthority:
    """The mesh's authority.

    Args:
        api: where the Secret is.
        place: namespace and name of the Secret.
        issuer: namespace and name of a Secret that somebody else keeps, as cert-manager; None: the mesh is its own.
        pace: of rotations.
        changed: called when it signs otherwise, or the roots are others.
        told: called with each step of a rotation and each new alarm: a CamelCase reason, a sentence, whether it is an alarm.
        wall: seconds since 1970.
    """

    def __init__(
        self,
        api: Api,
        place: tuple[str, str],
        *,
        issuer: tuple[str, str] | None = None,
        pace: Pace = DEFAULT_PACE,
        changed: Callable[[], None] = lambda: None,
        told: Callable[[str, str, bool], None] = lambda reason, text, alarm: None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._api, self._place, self._issuer_place, self._pace = api, place, issuer, pace
        self._changed, self._told, self._wall = changed, told, wall
        self._item: Body = {}
        self._state: CaState | None = None
        self._authority: Authority | None = None
        self._issuer: Issuer | None = None
        self._trouble: dict[str, str] = {}
        """What could not be read, by whose it is."""
        self.alarms: tuple[Alarm, ...] = ()
        """All that hold now."""

    # -- what it is ---------------------------------------------------------------------------------------------------

    @property
    def authority(self) -> Authority | None:
        """What signs for workloads; None: nothing was read yet."""
        return self._authority

    @property
    def state(self) -> CaState:
        """All of it; read before."""
        assert self._state is not None, "load comes first"
        return self._state

    @property
    def bundles(self) -> Mapping[str, tuple[str, ...]]:
        """PEM roots by trust domain."""
        return self.state.bundles

    @property
    def roots(self) -> Sequence[str]:
        """PEM roots that verify what it issues, and has issued."""
        return [root for roots in self.state.bundles.values() for root in roots]

    @property
    def ends(self) -> Iterable[tuple[str, float]]:
        """Name and end (seconds since 1970) of its certificates."""
        yield "intermediate", not_after(self.state.signer)
        yield "root", min(not_after(root) for root in self.state.roots)

    def issue_server(self, key: PublicKey, names: Sequence[str], now_unix_s: float) -> ServerCertificate:
        """Issue a certificate for our servers.

        Raises:
            CaError: it cannot.
        """
        assert self._authority is not None, "load comes first"
        return self._authority.issue_server(key, names, now_unix_s=now_unix_s)

    # -- reading ------------------------------------------------------------------------------------------------------

    async def load(self, trust_domain: str) -> None:
        """Read the authority, or make it where there is none.

        Raises:
            CaError: the Secret, or the issuer's, holds something else.
            ApiError: the API server did not answer.
        """
        if self._issuer_place is not None:
            self._issuer = await self._read_issuer(self._issuer_place)
        item = await self._api.get(_path(self._place))
        if item is None:
            item = await self._make(trust_domain)
        self._take(item)

    async def _make(self, trust_domain: str) -> Body:
        state = begin(trust_domain, self._issuer, self._wall())
        namespace, name = self._place
        metadata = {"name": name, "namespace": namespace}
        item = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": _data(state)}
        try:
            made = await self._api.create(f"/api/v1/namespaces/{namespace}/secrets", item)
        except ExistsError:  # another replica was first: theirs it is
            found = await self._api.get(_path(self._place))
            if found is None:
                raise CaError(f"{_name(self._place)} appears and vanishes; somebody deletes it") from None
            return found
        _log.info("authority made", secret=_name(self._place), trust_domain=trust_domain)
        return made

    async def refresh(self) -> None:
        """Read everything again; what cannot be read stays as it was, and is an alarm."""
        if self._issuer_place is not None:
            try:
                self._issuer = await self._read_issuer(self._issuer_place)
                self._trouble.pop("issuer", None)
            except (CaError, ApiError, OSError, TimeoutError) as exc:
                self._trouble["issuer"] = str(exc)
        try:
            item = await self._api.get(_path(self._place))
            if item is None:
                raise CaError(
                    f"{_name(self._place)} is gone. This replica signs on with what it has read; restore the Secret from a "
                    "backup before the operator restarts, which would make a new authority"
                )
            self._take(item)
            self._trouble.pop("secret", None)
        except (CaError, ApiError, OSError, TimeoutError) as exc:
            self._trouble["secret"] = str(exc)

    def _take(self, item: Body) -> None:
        version = (item.get("metadata") or {}).get("resourceVersion")
        if self._state is not None and version == (self._item.get("metadata") or {}).get("resourceVersion"):
            return
        data = _decoded(item, self._place)
        state = decode_state(data.get(STATE_KEY, b""), f"{_name(self._place)} {STATE_KEY}")
        self._item = item
        if state != self._state:
            self._authority = Authority(signing_key(state.signer), state.trust_domain)
            self._state = state
            self._changed()

    async def _read_issuer(self, place: tuple[str, str]) -> Issuer:
        item = await self._api.get(_path(place))
        if item is None:
            raise CaError(f"{_name(place)} is not there: the issuer that is configured must make it first")
        return read_issuer(_decoded(item, place), _name(place))

    # -- leading ------------------------------------------------------------------------------------------------------

    async def run(self, leads: Callable[[], bool], trust_domain: Callable[[], str], lacking: Lacking) -> None:
        """Follow the Secret, and take the steps that are due while leading, until cancelled."""
        while True:
            await asyncio.sleep(REFRESH_S)
            await self.refresh()
            if leads():
                await self.step(trust_domain(), lacking)
            else:
                self._look_around(self._facts(trust_domain(), lacking))

    async def step(self, trust_domain: str, lacking: Lacking) -> Step | None:
        """Take the step that is due, if any; a failed one is told and tried again next time."""
        facts = self._facts(trust_domain, lacking)
        self._look_around(facts)
        step = decide(self.state, facts, self._wall(), self._pace)
        if step is None or self._trouble:
            return None
        try:
            state = advance(self.state, step, facts, self._wall(), self._pace)
            item = await self._api.replace(_path(self._place), self._changed_item(state, step))
        except ConflictError:
            return None  # somebody else was faster; what they wrote is read next time
        except (CaError, ApiError, OSError, TimeoutError) as exc:
            self._told("RotationFailed", f"{step.does}: {exc}", True)
            _log.error("authority not changed", step=step.does, error=str(exc))
            return None
        _log.warning("authority changed", step=step.does, why=step.why, trust_domain=state.trust_domain)
        self._told("AuthorityChanged", f"{step.does}: {step.why}", False)
        self._take(item)
        return step

    def _facts(self, trust_domain: str, lacking: Lacking) -> Facts:
        annotations = (self._item.get("metadata") or {}).get("annotations") or {}
        return Facts(
            trust_domain=trust_domain,
            lacking=lacking(self.state.trust_domain, self.bundles[self.state.trust_domain]),
            issuer=self._issuer,
            wish=_WISHES.get(annotations.get(ROTATE, ""), ""),
        )

    def _changed_item(self, state: CaState, step: Step) -> Body:
        metadata = dict(self._item.get("metadata") or {})
        annotations = dict(metadata.get("annotations") or {})
        done = {"add root": "root", "renew intermediate": "intermediate"}.get(step.does)
        if done is not None and annotations.get(ROTATE) == done:
            del annotations[ROTATE]
        return {**self._item, "metadata": {**metadata, "annotations": annotations}, "data": _data(state)}

    def _look_around(self, facts: Facts) -> None:
        found = [Alarm(f"{whose.capitalize()}Unreadable", why) for whose, why in sorted(self._trouble.items())]
        found += alarms(self.state, facts, self._wall())
        known = {alarm.name for alarm in self.alarms}
        for alarm in found:
            if alarm.name not in known:
                _log.error("authority in danger", alarm=alarm.name, detail=alarm.text)
                self._told(alarm.name, alarm.text, True)
        self.alarms = tuple(found)


def _path(place: tuple[str, str]) -> str:
    return f"/api/v1/namespaces/{place[0]}/secrets/{place[1]}"


def _name(place: tuple[str, str]) -> str:
    return f"Secret {place[0]}/{place[1]}"


def _data(state: CaState) -> dict[str, str]:
    roots = "".join(root.certificate for root in state.roots)
    values = {STATE_KEY: encode_state(state), ROOTS_KEY: roots.encode()}
    return {key: b64encode(value).decode() for key, value in values.items()}


def _decoded(item: Body, place: tuple[str, str]) -> dict[str, bytes]:
    """Return a Secret's data.

    Raises:
        CaError: it is not base64.
    """
    try:
        return {key: b64decode(value, validate=True) for key, value in (item.get("data") or {}).items()}
    except (ValueError, TypeError) as exc:
        raise CaError(f"{_name(place)} holds what is not base64 ({exc})") from exc
