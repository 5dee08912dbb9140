"""Replacing intermediates and roots: nobody's certificate is ever unknown to a peer, whatever comes late or never."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft_contract.limits import DEFAULT_LIMITS, HOURS
from weft_operator.ca.alarms import alarms
from weft_operator.ca.authority import DAYS, INTERMEDIATE_TTL_S, ROOT_TTL_S, CaError
from weft_operator.ca.issuer import Issuer
from weft_operator.ca.rotation import (
    MIN_DISTRIBUTION_S,
    OVERLAP_S,
    RENEW_INTERMEDIATE_S,
    RENEW_ROOT_S,
    Facts,
    Step,
    Wish,
    advance,
    begin,
    decide,
)
from weft_operator.ca.state import CaState, SignerRecord, decode_state, encode_state, new_state, not_after

NOW = 1_800_000_000.0
DOMAIN = "mesh.test"


def facts(
    lacking: tuple[str, ...] | None = (), *, wish: Wish = "", issuer: Issuer | None = None, domain: str = DOMAIN
) -> Facts:
    return Facts(trust_domain=domain, lacking=lacking, issuer=issuer, wish=wish)


def does(state: CaState, world: Facts, now: float) -> str | None:
    step = decide(state, world, now)
    return step.does if step is not None else None


def go(state: CaState, world: Facts, now: float, expected: str) -> CaState:
    step = decide(state, world, now)
    assert step is not None
    assert step.does == expected
    return decode_state(encode_state(advance(state, step, world, now)), "test")


def issuer_of(state: CaState) -> Issuer:
    """Take an authority for somebody else's."""
    roots = tuple(msgspec.structs.replace(root, key="") for root in state.roots)
    return Issuer(roots, state.signer)


def test_a_new_authority_rests() -> None:
    state = new_state(DOMAIN, NOW)
    assert decide(state, facts(), NOW) is None
    assert state.bundles == {DOMAIN: (state.roots[0].certificate,)}


def test_an_intermediate_is_renewed_below_its_root() -> None:
    state = new_state(DOMAIN, NOW)
    due = NOW + INTERMEDIATE_TTL_S - RENEW_INTERMEDIATE_S
    assert decide(state, facts(), due - 10) is None
    renewed = go(state, facts(), due + 1, "renew intermediate")
    assert renewed.roots == state.roots
    assert renewed.signer.root == state.signer.root
    assert renewed.signer.certificate != state.signer.certificate
    assert decide(renewed, facts(), due + 1) is None


def test_a_root_is_replaced_in_three_steps_each_in_its_time() -> None:
    old = new_state(DOMAIN, NOW)
    due = NOW + ROOT_TTL_S - RENEW_ROOT_S + 1
    old = msgspec.structs.replace(old, signer=go_signer(old, due))
    added = go(old, facts(), due, "add root")
    assert len(added.bundles[DOMAIN]) == 2
    assert added.signer == old.signer, "the old root signs until everybody knows the new one"
    after = due + MIN_DISTRIBUTION_S
    assert does(added, facts(()), after - 1) is None, "other readers of the roots need their time"
    assert does(added, facts(("n1",)), after) is None
    assert does(added, facts(None), after) is None, "what is not known is not true"
    moved = go(added, facts(()), after, "move")
    assert moved.signer.root == added.roots[1].name
    assert moved.roots == added.roots, "certificates below the old root are still in use"
    assert does(moved, facts(), after + DEFAULT_LIMITS.certificate_ttl_s) is None
    retired = go(moved, facts(), after + OVERLAP_S, "retire")
    assert retired.roots == added.roots[1:]
    assert retired.rotation is None
    assert decide(retired, facts(), after + OVERLAP_S) is None


def go_signer(state: CaState, now: float) -> SignerRecord:
    step = Step("renew intermediate", "")
    return advance(state, step, facts(), now).signer


def test_while_a_node_is_away_the_old_root_goes_on_being_used() -> None:
    state = new_state(DOMAIN, NOW)
    state = go(state, facts(("n1",), wish="root"), NOW, "add root")
    late = NOW + INTERMEDIATE_TTL_S - RENEW_INTERMEDIATE_S + 1
    renewed = go(state, facts(("n1",)), late, "renew intermediate")
    assert renewed.signer.root == state.signer.root
    assert renewed.rotation == state.rotation
    (alarm,) = alarms(renewed, facts(("n1",)), late)
    assert alarm.name == "RotationWaits"
    assert "waits for nodes n1; until then the old one signs" in alarm.text


@pytest.mark.parametrize(("wish", "expected"), [("root", "add root"), ("intermediate", "renew intermediate")])
def test_somebody_may_ask_for_it(wish: Wish, expected: str) -> None:
    assert does(new_state(DOMAIN, NOW), facts(wish=wish), NOW + 1) == expected


def test_another_trust_domain_begins_anew_and_the_old_roots_stay_as_long_as_they_are_needed() -> None:
    old = new_state(DOMAIN, NOW)
    state = go(old, facts(domain="other.test"), NOW, "change domain")
    assert state.trust_domain == "other.test"
    assert state.bundles[DOMAIN] == old.bundles[DOMAIN]
    assert len(state.bundles["other.test"]) == 1
    there = facts(domain="other.test")
    assert decide(state, there, NOW + OVERLAP_S - 1) is None
    state = go(state, there, NOW + OVERLAP_S, "forget domain")
    assert set(state.bundles) == {"other.test"}


def test_a_domain_that_was_left_and_is_chosen_again_is_a_new_one() -> None:
    state = go(new_state(DOMAIN, NOW), facts(domain="b.test"), NOW, "change domain")
    state = go(state, facts(domain=DOMAIN), NOW + 1, "change domain")
    assert set(state.bundles) == {DOMAIN, "b.test"}


def test_a_domain_that_cannot_be_one_changes_nothing() -> None:
    state = new_state(DOMAIN, NOW)
    for bad in ("UPPER", ".dot"):
        step = decide(state, facts(domain=bad), NOW)
        assert step is not None
        with pytest.raises(CaError):
            advance(state, step, facts(domain=bad), NOW)


def test_an_issuer_s_authority_is_used_as_it_is() -> None:
    theirs = issuer_of(new_state(DOMAIN, NOW))
    state = begin(DOMAIN, theirs, NOW)
    world = facts(issuer=theirs)
    assert decide(state, world, NOW) is None
    late = NOW + INTERMEDIATE_TTL_S - 13 * DAYS
    assert decide(state, world, late) is None, "it is theirs to renew"
    assert [alarm.name for alarm in alarms(state, world, late)] == ["IntermediateEnds"]


def test_an_issuer_s_new_intermediate_below_a_known_root_signs_at_once() -> None:
    theirs = new_state(DOMAIN, NOW)
    state = begin(DOMAIN, issuer_of(theirs), NOW)
    renewed = advance(theirs, Step("renew intermediate", ""), facts(), NOW + 1)
    adopted = go(state, facts(issuer=issuer_of(renewed)), NOW + 1, "adopt")
    assert adopted.signer == renewed.signer


def test_an_issuer_s_new_root_is_distributed_before_it_signs() -> None:
    state = begin(DOMAIN, issuer_of(new_state(DOMAIN, NOW)), NOW)
    other = issuer_of(new_state(DOMAIN, NOW + 1))
    world = facts(issuer=other)
    added = go(state, world, NOW + 1, "add root")
    assert added.signer == state.signer
    assert len(added.roots) == 2
    moved = go(added, world, NOW + 1 + MIN_DISTRIBUTION_S, "move")
    assert moved.signer == other.signer
    retired = go(moved, world, NOW + 1 + MIN_DISTRIBUTION_S + OVERLAP_S, "retire")
    assert retired.roots == other.roots
    assert decide(retired, world, NOW + 2 * OVERLAP_S) is None


def test_to_an_issuer_and_back() -> None:
    state = new_state(DOMAIN, NOW)
    world = facts(issuer=issuer_of(new_state(DOMAIN, NOW)))
    now = NOW
    for expected in ("add root", "move", "retire"):
        now += OVERLAP_S
        state = go(state, world, now, expected)
    for expected in ("add root", "move", "retire"):
        now += OVERLAP_S
        state = go(state, facts(), now, expected)
    assert state.roots[0].key, "the mesh keeps its own root again"


def test_alarms_before_an_end() -> None:
    state = new_state(DOMAIN, NOW)
    assert list(alarms(state, facts(), NOW)) == []
    late = not_after(state.signer) - RENEW_INTERMEDIATE_S / 3
    (alarm,) = alarms(state, facts(), late)
    assert alarm.name == "IntermediateEnds"
    assert "ends in 41 days; it should have been renewed by itself" in alarm.text
    (_, root) = alarms(state, facts(), not_after(state.roots[0]) - 100 * DAYS)
    assert root.name == "RootEnds"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([60.0, HOURS, 6 * HOURS, 20 * DAYS, 100 * DAYS]),
            st.sampled_from(["", "root", "intermediate"]),
            st.lists(st.booleans(), min_size=3, max_size=3),
        ),
        max_size=40,
    )
)
def test_no_certificate_in_use_is_ever_unknown_to_a_node(steps: list[tuple[float, Wish, list[bool]]]) -> None:
    state, now = new_state(DOMAIN, NOW), NOW
    in_force = [{root.name for root in state.roots} for _ in range(3)]
    leaves: list[tuple[float, str]] = []
    for wait_s, wish, acknowledges in steps:
        now += wait_s
        bundle = {root.name for root in state.roots}
        for node, does_so in enumerate(acknowledges):
            in_force[node] = bundle if does_so else in_force[node]
        lacking = tuple(f"n{node}" for node in range(3) if in_force[node] != bundle)
        world = facts(lacking, wish=wish)
        step = decide(state, world, now)
        if step is not None:
            state = advance(state, step, world, now)
        # every replica signs a certificate now, one of them with what it read before
        leaves = [leaf for leaf in leaves if leaf[0] > now]
        leaves.append((now + DEFAULT_LIMITS.certificate_ttl_s, state.signer.root))
        for node in range(3):
            assert {root for _, root in leaves} <= in_force[node]
    decode_state(encode_state(state), "test")
