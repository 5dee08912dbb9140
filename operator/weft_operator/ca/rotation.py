"""When roots and intermediates are replaced, step by step. Pure: a state, facts and `now` in, the next step and state out.

Theory. Replacing an intermediate is one step: peers trust its root already. Replacing a root is three, because a certificate
is of use only where its root is known:

    add       the new root joins the bundle; the old one signs on
              ── until every node has the bundle in force, and at least `MIN_DISTRIBUTION_S` (other readers of the roots:
                 agents' files, webhooks, other replicas) ──
    move      the new root's intermediate signs
              ── until no leaf of the old one can be valid: the longest life of a leaf, and the slack of readers ──
    retire    the old root leaves the bundle

A node that is away keeps the second step from happening, however long: it would be cut off. Meanwhile the intermediate goes on
being renewed below the old root, which begins to be replaced two years before its end; alarms name the nodes. Each step is
written before it is acted upon, so that any replica can go on, and a step that is decided twice is the same step.

With an issuer that somebody else keeps (`issuer`) its roots and its signer take the place of ours by the same three steps,
and it decides when.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import msgspec

from weft_contract.limits import DEFAULT_LIMITS, HOURS, MINUTES
from weft_operator.ca.authority import INTERMEDIATE_TTL_S, CaError, create_intermediate, create_root
from weft_operator.ca.issuer import Issuer
from weft_operator.ca.state import (
    CaState,
    FormerDomain,
    Rotation,
    SignerRecord,
    new_state,
    not_after,
    root_record,
    signer_record,
    signing_key,
)

RENEW_INTERMEDIATE_S: Final = INTERMEDIATE_TTL_S / 3
"""Left of an intermediate when it is replaced: four months in which a broken operator is noticed."""
RENEW_ROOT_S: Final = 2 * INTERMEDIATE_TTL_S
"""Left of a root when it begins to be replaced: an intermediate below it always has its full life."""
MIN_DISTRIBUTION_S: Final = 5.0 * MINUTES
"""Between the new root's publication and its first signature: mounted ConfigMaps follow within two minutes."""
OVERLAP_S: Final = DEFAULT_LIMITS.certificate_ttl_s + 1.0 * HOURS
"""Between the new root's first signature and the old root's end: the longest leaf, and replicas that read the move late."""

Wish: TypeAlias = Literal["", "intermediate", "root"]
"""What somebody asked to be replaced now."""
Does: TypeAlias = Literal["change domain", "forget domain", "add root", "move", "retire", "adopt", "renew intermediate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of the world beside the state."""

    trust_domain: str
    """As the Mesh says."""
    lacking: tuple[str, ...] | None
    """Nodes that do not have the state's bundle in force; None: not known."""
    issuer: Issuer | None = None
    wish: Wish = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long the phases last."""

    min_distribution_s: float = MIN_DISTRIBUTION_S
    overlap_s: float = OVERLAP_S


DEFAULT_PACE: Final = Pace()


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do."""

    does: Does
    why: str


def decide(state: CaState, facts: Facts, now_unix_s: float, pace: Pace = DEFAULT_PACE) -> Step | None:
    """Say what is to be done now; None: nothing."""
    if facts.trust_domain != state.trust_domain:
        return Step("change domain", f"the mesh's trust domain is {facts.trust_domain} now, not {state.trust_domain}")
    if any(now_unix_s >= each.until_unix_s for each in state.former):
        return Step("forget domain", "no certificate of it is valid any more")
    if state.rotation is not None:
        step = _in_rotation(state, state.rotation, facts, now_unix_s, pace)
    elif facts.issuer is not None:
        step = _with_issuer(state, facts.issuer)
    else:
        step = _to_begin(state, facts.wish, now_unix_s)
    return step or _renewal(state, facts, now_unix_s)


def _in_rotation(state: CaState, rotation: Rotation, facts: Facts, now_unix_s: float, pace: Pace) -> Step | None:
    if rotation.moved_unix_s is not None:
        if now_unix_s >= rotation.moved_unix_s + pace.overlap_s:
            return Step("retire", "no certificate below the old root is valid any more")
        return None
    if facts.lacking == () and now_unix_s >= rotation.since_unix_s + pace.min_distribution_s:
        return Step("move", "every node trusts the new root")
    return None


def _with_issuer(state: CaState, issuer: Issuer) -> Step | None:
    names = {root.name for root in state.roots}
    if {root.name for root in issuer.roots} != names:
        return Step("add root", "the issuer's Secret has other roots")
    return Step("adopt", "the issuer's Secret has another key") if issuer.signer != state.signer else None


def _to_begin(state: CaState, wish: Wish, now_unix_s: float) -> Step | None:
    root = state.root(state.signer.root)
    if wish == "root":
        return Step("add root", "somebody asked for it")
    if root is None or not root.key:
        return Step("add root", "the authority was somebody else's, and is the mesh's own again")
    if not_after(root) - now_unix_s < RENEW_ROOT_S:
        return Step("add root", "the root ends within two years")
    return None


def _renewal(state: CaState, facts: Facts, now_unix_s: float) -> Step | None:
    root = state.root(state.signer.root)
    if facts.issuer is not None or root is None or not root.key:
        return None
    if facts.wish == "intermediate":
        return Step("renew intermediate", "somebody asked for it")
    left_s = not_after(state.signer) - now_unix_s
    root_left_s = not_after(root) - now_unix_s
    if left_s < RENEW_INTERMEDIATE_S and root_left_s > left_s + 1:
        return Step("renew intermediate", "it ends within four months")
    return None


def advance(state: CaState, step: Step, facts: Facts, now_unix_s: float, pace: Pace = DEFAULT_PACE) -> CaState:
    """Return the state after a step that `decide` has named for it.

    Raises:
        CaError: a key cannot be used, or the new trust domain cannot be one.
    """
    match step.does:
        case "change domain":
            return _change_domain(state, facts, now_unix_s, pace)
        case "forget domain":
            former = tuple(each for each in state.former if now_unix_s < each.until_unix_s)
            return msgspec.structs.replace(state, former=former)
        case "add root":
            return _add(state, facts.issuer, now_unix_s)
        case "move":
            return _move(state, now_unix_s)
        case "retire":
            return _retire(state)
        case "adopt":
            return msgspec.structs.replace(state, signer=_issuer(facts).signer)
        case "renew intermediate":
            return msgspec.structs.replace(state, signer=_new_signer(state, state.signer.root, now_unix_s))


def begin(trust_domain: str, issuer: Issuer | None, now_unix_s: float) -> CaState:
    """Return the first state of an authority: its own, or an issuer's.

    Raises:
        CaError: the trust domain cannot be one.
    """
    if issuer is None:
        return new_state(trust_domain, now_unix_s)
    return CaState(trust_domain=trust_domain, roots=issuer.roots, signer=issuer.signer)


def _change_domain(state: CaState, facts: Facts, now_unix_s: float, pace: Pace) -> CaState:
    trust_domain = facts.trust_domain
    roots = tuple(root.certificate for root in state.roots)
    left = FormerDomain(trust_domain=state.trust_domain, roots=roots, until_unix_s=now_unix_s + pace.overlap_s)
    others = tuple(each for each in state.former if each.trust_domain not in {trust_domain, state.trust_domain})
    return msgspec.structs.replace(begin(trust_domain, facts.issuer, now_unix_s), former=(*others, left))


def _add(state: CaState, issuer: Issuer | None, now_unix_s: float) -> CaState:
    if issuer is not None:
        coming, signer = issuer.roots, issuer.signer
    else:
        coming, signer = (root_record(create_root(state.trust_domain, now_unix_s=now_unix_s)),), None
    known = {root.name for root in state.roots}
    rotation = Rotation(roots=tuple(root.name for root in coming), since_unix_s=now_unix_s, signer=signer)
    new = tuple(root for root in coming if root.name not in known)
    return msgspec.structs.replace(state, roots=(*state.roots, *new), rotation=rotation)


def _move(state: CaState, now_unix_s: float) -> CaState:
    rotation = _rotation(state)
    signer = rotation.signer or _new_signer(state, rotation.roots[0], now_unix_s)
    moved = msgspec.structs.replace(rotation, signer=None, moved_unix_s=now_unix_s)
    return msgspec.structs.replace(state, signer=signer, rotation=moved)


def _retire(state: CaState) -> CaState:
    stay = _rotation(state).roots
    return msgspec.structs.replace(state, roots=tuple(root for root in state.roots if root.name in stay), rotation=None)


def _new_signer(state: CaState, root_name: str, now_unix_s: float) -> SignerRecord:
    record = state.root(root_name)
    if record is None or not record.key:
        raise CaError(f"the key of root {root_name} is not ours: nothing can be signed with it")
    root = signing_key(record)
    return signer_record(create_intermediate(root, state.trust_domain, now_unix_s=now_unix_s), root)


def _rotation(state: CaState) -> Rotation:
    if state.rotation is None:
        raise CaError("no root is being replaced")
    return state.rotation


def _issuer(facts: Facts) -> Issuer:
    if facts.issuer is None:
        raise CaError("there is no issuer to take over from")
    return facts.issuer
