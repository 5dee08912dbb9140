"""The authority's state as it is kept: what cannot be used is told with a remedy, and never half taken."""

import msgspec
import pytest

from weft_operator.ca import CaError
from weft_operator.ca.state import CaState, Rotation, decode_state, encode_state, new_state

NOW = 1_800_000_000.0


def test_a_state_survives_its_text() -> None:
    state = new_state("mesh.test", NOW)
    assert decode_state(encode_state(state), "test") == state


STATE = new_state("mesh.test", NOW)
OTHER = new_state("mesh.test", NOW)
replace = msgspec.structs.replace


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (replace(STATE, roots=()), "is not in the bundle"),
        (replace(STATE, roots=OTHER.roots), "is not in the bundle"),
        (replace(STATE, roots=(replace(STATE.roots[0], name="0" * 16),)), "another certificate's name"),
        (replace(STATE, roots=(replace(STATE.roots[0], key=OTHER.roots[0].key),)), "not its certificate's"),
        (replace(STATE, signer=replace(STATE.signer, key="x")), "does not hold a private key"),
        (replace(STATE, signer=replace(STATE.signer, certificate="x")), "does not hold certificates"),
        (replace(STATE, rotation=Rotation(roots=("0" * 16,), since_unix_s=NOW)), "a root that is not in the bundle"),
        (replace(STATE, rotation=Rotation(roots=(), since_unix_s=NOW)), "a root that is not in the bundle"),
        (replace(STATE, trust_domain="UPPER"), "trust domain"),
    ],
)
def test_a_broken_state_is_told(broken: CaState, says: str) -> None:
    with pytest.raises(CaError, match="Secret x is not an authority") as caught:
        decode_state(encode_state(broken), "Secret x")
    assert says in str(caught.value)
    assert "restore it from a backup" in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b'{"schema": "weft.dev/ca/v9"}'])
def test_what_is_no_state_is_told(data: bytes) -> None:
    with pytest.raises(CaError, match="Secret x is not an authority"):
        decode_state(data, "Secret x")
