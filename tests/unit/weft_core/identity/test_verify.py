"""The rules for leaf, chain and root, each in both directions."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from weft_contract.identity import SpiffeId, parse_spiffe_id
from weft_contract.limits import DEFAULT_LIMITS
from weft_core.errors import CertificateExpiredError, IdentityMismatchError, UntrustedPeerError
from weft_core.identity import PeerChain, Role, check_authority, check_root, verify_chain, verify_own, verify_peer
from weft_testing import asn1, pki

NOW = 1_800_000_000.0
ROOT = pki.root(now_unix_s=NOW)
MIDDLE = ROOT.intermediate(now_unix_s=NOW)
ALICE = parse_spiffe_id(pki.ALICE)
DOMAINS = {pki.TRUST_DOMAIN}
ROLES: tuple[Role, ...] = ("client", "server")


def leaf(**wishes: object) -> pki.Issued:
    return MIDDLE.issue(**{"now_unix_s": NOW, **wishes})


def verdict(der: bytes, role: Role = "client", now: float = NOW, expected: SpiffeId | None = None) -> SpiffeId:
    return verify_peer(der, now, DOMAINS, role=role, expected=expected).identity


# -- the leaf -------------------------------------------------------------------------------------------------------


def test_accepts_a_workloads_certificate() -> None:
    issued = leaf(serial=5)
    for role in ROLES:
        peer = verify_peer(issued.der, NOW, DOMAINS, role=role, expected=ALICE)
        assert peer.identity == ALICE
        assert peer.not_after_unix_s == NOW + pki.DAY_S
        assert peer.serial == 5


@pytest.mark.parametrize(
    "wishes",
    [
        {"subject": "alice"},
        {"usage": (0, 2, 4)},
        {"names_critical": False},
        {"other_names": (asn1.implicit(2, b"alice.shop.svc"), asn1.implicit(7, b"\x0a\x00\x00\x01"))},
        {"key": pki.p384()},
        {"key": ed25519.Ed25519PrivateKey.generate()},
        {"key": pki.rsa_key(2048)},
        {"serial": (1 << 159) - 1},
        {"purposes": (pki.CLIENT_AUTH, pki.SERVER_AUTH, "1.3.6.1.5.5.7.3.4")},
        {"extensions": (pki.extension("1.2.3.4", asn1.integer(1)),)},
        {"ends_in_s": 40 * 365 * pki.DAY_S},
        {"authority_key_id": False},
    ],
)
def test_accepts_variations(wishes: Mapping[str, object]) -> None:
    assert verdict(leaf(**wishes).der) == ALICE


@pytest.mark.parametrize(
    ("wishes", "why"),
    [
        ({"uris": ()}, "0 URI names"),
        ({"uris": (pki.ALICE, pki.BOB)}, "2 URI names"),
        ({"uris": (pki.ALICE, pki.ALICE)}, "2 URI names"),
        ({"uris": (pki.ALICE, "https://example.org/")}, "2 URI names"),
        ({"uris": (), "other_names": (asn1.implicit(2, b"alice"),)}, "0 URI names"),
        ({"uris": ("https://cluster.local/ns/shop/sa/alice",)}, "begin with spiffe"),
        ({"uris": ("spiffe://Cluster.Local/ns/shop/sa/alice",)}, "trust domain"),
        ({"uris": ("SPIFFE://cluster.local/ns/shop/sa/alice",)}, "begin with spiffe"),
        ({"uris": ("spiffe://cluster.local",)}, "form"),
        ({"uris": ("spiffe://cluster.local/",)}, "segment"),
        ({"uris": ("spiffe://cluster.local/ns/shop/sa/alice/",)}, "segment"),
        ({"uris": ("spiffe://cluster.local/ns/shop/sa/alice/x",)}, "form"),
        ({"uris": ("spiffe://cluster.local/ns/shop/../sa/alice",)}, "segment"),
        ({"uris": ("spiffe://cluster.local/ns/./sa/alice",)}, "segment"),
        ({"uris": ("spiffe://cluster.local/ns/shop/sa/%61lice",)}, "segment"),
        ({"uris": ("spiffe://cluster.local/ns//sa/alice",)}, "segment"),
        ({"uris": ("spiffe://cluster.local:8080/ns/shop/sa/alice",)}, "trust domain"),
        ({"uris": ("spiffe://me@cluster.local/ns/shop/sa/alice",)}, "trust domain"),
        ({"uris": ("spiffe://cluster.local/ns/shop/sa/alice?x",)}, "segment"),
        ({"uris": ("spiffe://cluster.local/ns/shop/sa/alice#x",)}, "segment"),
        ({"uris": ("spiffe://cluster.local/ns/Shop/sa/alice",)}, "namespace"),
        ({"uris": ("spiffe://cluster.local/ns/shop/sa/ALICE",)}, "service account"),
        ({"uris": (f"spiffe://{'a' * 256}/ns/shop/sa/alice",)}, "trust domain"),
        ({"uris": (f"spiffe://cluster.local/ns/shop/sa/{'a' * 2048}",)}, "longer than"),
        ({"uris": (b"spiffe://cluster.local/ns/shop/sa/alice\x00",)}, "visible ASCII"),
        ({"uris": (b"spiffe://cluster.local/ns/shop\x00/sa/alice",)}, "visible ASCII"),
        ({"uris": (pki.ALICE, b"\x00")}, "visible ASCII"),
        ({"other_names": (asn1.implicit(2, b"a\x00b"),)}, "visible ASCII"),
        ({"other_names": (asn1.explicit(0, asn1.oid("1.2.3") + asn1.explicit(0, asn1.utf8("a\0"))),)}, "kind 0"),
        ({"authority": True, "usage": (0, 5)}, "authority"),
        ({"authority": True}, "authority"),
        ({"usage": None}, "missing or not critical"),
        ({"usage_critical": False}, "missing or not critical"),
        ({"usage": (2,)}, "digitalSignature"),
        ({"usage": (0, 5)}, "sign certificates"),
        ({"usage": (0, 6)}, "sign certificates"),
        ({"purposes": None}, "does not allow it to be a client"),
        ({"purposes": (pki.SERVER_AUTH,)}, "does not allow it to be a client"),
        ({"purposes": ("2.5.29.37.0",)}, "does not allow it to be a client"),
        ({"extensions": (pki.extension("1.2.3.4", asn1.integer(1), critical=True),)}, "critical extension"),
        ({"extensions": (pki.extension("2.5.29.17", asn1.sequence(asn1.implicit(6, b"spiffe://b"))),)}, "twice"),
        ({"version": 0}, "version"),
        ({"version": 1}, "version"),
        ({"serial": 0}, "serial"),
        ({"serial": 1 << 160}, "serial"),
        ({"key": ec.generate_private_key(ec.SECP256K1())}, "key is neither"),
        ({"key": ec.generate_private_key(ec.SECP521R1())}, "key is neither"),
        ({"key": pki.rsa_key(1024)}, "1024 bits"),
        ({"key": pki.rsa_key(2048, exponent=3)}, "exponent"),
    ],
)
def test_refuses_what_is_no_workloads_certificate(wishes: Mapping[str, object], why: str) -> None:
    with pytest.raises(UntrustedPeerError, match=why):
        verdict(leaf(**wishes).der)


def test_a_role_needs_its_purpose_and_no_more() -> None:
    only_client = leaf(purposes=(pki.CLIENT_AUTH,)).der
    only_server = leaf(purposes=(pki.SERVER_AUTH,)).der
    assert verdict(only_client, "client") == verdict(only_server, "server") == ALICE
    for der, role in zip((only_server, only_client), ROLES, strict=True):
        with pytest.raises(UntrustedPeerError, match=f"to be a {role}"):
            verdict(der, role)


@pytest.mark.parametrize(
    ("starts_in_s", "ends_in_s", "outcome"),
    [
        (-60, 1000, ""),
        (60, 1000, ""),
        (61, 1000, "becomes valid in 61 s"),
        (-1000, -60, ""),
        (-1000, -61, "expired 61 s ago"),
        (-1000, 0, ""),
    ],
)
def test_validity_with_the_tolerated_difference_of_clocks(starts_in_s: float, ends_in_s: float, outcome: str) -> None:
    der = leaf(starts_in_s=starts_in_s, ends_in_s=ends_in_s).der
    if not outcome:
        assert verdict(der) == ALICE
        return
    with pytest.raises(CertificateExpiredError, match=outcome):
        verdict(der)


def test_the_tolerance_is_a_limit() -> None:
    der = leaf(starts_in_s=-1000, ends_in_s=-1).der
    with pytest.raises(CertificateExpiredError):
        verify_peer(der, NOW, DOMAINS, replace(DEFAULT_LIMITS, clock_skew_s=0.0), role="client")


def test_the_trust_domain_must_be_known() -> None:
    der = leaf(uris=("spiffe://other.example/ns/shop/sa/alice",)).der
    with pytest.raises(UntrustedPeerError, match=r"no roots are known for the trust domain of spiffe://other\.example"):
        verdict(der)
    assert verify_peer(der, NOW, {"other.example"}, role="client").identity.trust_domain == "other.example"


def test_somebody_else_than_expected() -> None:
    with pytest.raises(IdentityMismatchError, match=f"peer is {pki.BOB}, expected was {pki.ALICE}"):
        verdict(leaf(uris=(pki.BOB,)).der, expected=ALICE)


def test_malformed_is_untrusted() -> None:
    for der in (b"", b"garbage", leaf().der[:-1], leaf().der + b"\x00"):
        with pytest.raises(UntrustedPeerError, match="malformed"):
            verdict(der)


# -- the chain ------------------------------------------------------------------------------------------------------


def chain_of(issued: pki.Issued, root: pki.Authority = ROOT) -> PeerChain:
    return PeerChain(issued.chain, (*issued.chain, root.der))


def judge(chain: PeerChain, bundles: Mapping[str, set[bytes]] | None = None, now: float = NOW) -> SpiffeId:
    return verify_chain(chain, now, bundles or {pki.TRUST_DOMAIN: {ROOT.der}}, role="client").identity


def test_accepts_a_chain() -> None:
    assert judge(chain_of(leaf())) == ALICE
    assert judge(chain_of(ROOT.issue(now_unix_s=NOW))) == ALICE


def test_tells_which_root_vouched() -> None:
    peer = verify_chain(chain_of(leaf()), NOW, {pki.TRUST_DOMAIN: {ROOT.der}}, role="client")
    other = verify_chain(chain_of(leaf(), MIDDLE), NOW, {pki.TRUST_DOMAIN: {MIDDLE.der}}, role="client")
    assert peer.root_sha256 != other.root_sha256
    assert len(peer.root_sha256) == 32


def test_a_chain_ends_when_its_first_member_does() -> None:
    middle = ROOT.intermediate(now_unix_s=NOW, ends_in_s=100.0)
    chain = chain_of(middle.issue(now_unix_s=NOW))
    assert verify_chain(chain, NOW, {pki.TRUST_DOMAIN: {ROOT.der}}, role="client").not_after_unix_s == NOW + 100


def test_a_root_vouches_for_its_own_domain_only() -> None:
    """A root of domain A signs a name in domain B: both are known, and still it is refused."""
    foreign = pki.root(now_unix_s=NOW)
    bundles = {pki.TRUST_DOMAIN: {ROOT.der}, "other.example": {foreign.der}}
    theirs = foreign.issue(now_unix_s=NOW, uris=("spiffe://other.example/ns/shop/sa/alice",))
    assert judge(chain_of(theirs, foreign), bundles).trust_domain == "other.example"
    stolen = foreign.issue(now_unix_s=NOW)
    with pytest.raises(UntrustedPeerError, match="not one of trust domain cluster"):
        judge(chain_of(stolen, foreign), bundles)


def test_a_root_may_belong_to_two_domains() -> None:
    bundles = {pki.TRUST_DOMAIN: {ROOT.der}, "other.example": {ROOT.der}}
    theirs = leaf(uris=("spiffe://other.example/ns/shop/sa/alice",))
    assert judge(chain_of(theirs), bundles).trust_domain == "other.example"
    assert judge(chain_of(leaf()), bundles) == ALICE


def test_a_known_domain_without_roots_vouches_for_nobody() -> None:
    with pytest.raises(UntrustedPeerError, match="not one of trust domain"):
        judge(chain_of(leaf()), {pki.TRUST_DOMAIN: set()})


def test_two_roots_while_one_is_replaced() -> None:
    fresh = pki.root(now_unix_s=NOW)
    bundles = {pki.TRUST_DOMAIN: {ROOT.der, fresh.der}}
    assert judge(chain_of(leaf()), bundles) == ALICE
    assert judge(chain_of(fresh.intermediate(now_unix_s=NOW).issue(now_unix_s=NOW), fresh), bundles) == ALICE


def test_length_is_bounded() -> None:
    authority = ROOT
    for _ in range(3):
        authority = authority.intermediate(now_unix_s=NOW)
    assert judge(chain_of(authority.issue(now_unix_s=NOW))) == ALICE  # five with the root
    longer = chain_of(authority.intermediate(now_unix_s=NOW).issue(now_unix_s=NOW))
    with pytest.raises(UntrustedPeerError, match="verified 6 certificates"):
        judge(longer)
    with pytest.raises(UntrustedPeerError, match="sent 6 certificates"):
        judge(PeerChain(leaf().chain * 3, chain_of(leaf()).verified))
    with pytest.raises(UntrustedPeerError, match="sent 0 certificates"):
        judge(PeerChain((), ()))


def test_the_leaf_verified_is_the_leaf_sent() -> None:
    one, other = leaf(), leaf(uris=(pki.BOB,))
    with pytest.raises(UntrustedPeerError, match="not the one the peer sent"):
        judge(PeerChain(one.chain, (*other.chain, ROOT.der)))


@pytest.mark.parametrize(
    ("wishes", "why"),
    [
        ({"authority": False}, "not an authority"),
        ({"usage": (0,)}, "keyCertSign"),
        ({"usage": None}, "keyCertSign"),
        ({"key": pki.rsa_key(1024)}, "1024 bits"),
        ({"version": 1}, "malformed"),
    ],
)
def test_refuses_authorities_that_may_not_sign(wishes: Mapping[str, object], why: str) -> None:
    middle = ROOT.intermediate(now_unix_s=NOW, **wishes)
    with pytest.raises(UntrustedPeerError, match=why):
        judge(chain_of(middle.issue(now_unix_s=NOW)))


def test_every_member_must_be_valid_now() -> None:
    for wishes in ({"ends_in_s": -61.0, "starts_in_s": -100.0}, {"starts_in_s": 61.0}):
        with pytest.raises(CertificateExpiredError, match="authority in the chain"):
            judge(chain_of(ROOT.intermediate(now_unix_s=NOW, **wishes).issue(now_unix_s=NOW)))
        old = pki.root(now_unix_s=NOW, **wishes)
        with pytest.raises(CertificateExpiredError, match="authority in the chain"):
            judge(chain_of(old.issue(now_unix_s=NOW), old), {pki.TRUST_DOMAIN: {old.der}})
    middle = ROOT.intermediate(now_unix_s=NOW, ends_in_s=-60.0, starts_in_s=-100.0)
    assert judge(chain_of(middle.issue(now_unix_s=NOW))) == ALICE


# -- our own, and roots -----------------------------------------------------------------------------------------------


def test_own_certificates_are_fit_for_both_roles() -> None:
    issued = leaf()
    assert verify_own(issued.chain, NOW).identity == ALICE
    with pytest.raises(UntrustedPeerError, match="to be a server"):
        verify_own(leaf(purposes=(pki.CLIENT_AUTH,)).chain, NOW)
    with pytest.raises(UntrustedPeerError, match="chain of 6"):
        verify_own(issued.chain * 3, NOW)
    with pytest.raises(UntrustedPeerError, match="not an authority"):
        verify_own((issued.der, issued.der), NOW)
    with pytest.raises(CertificateExpiredError):
        verify_own(issued.chain, NOW + pki.DAY_S + 61)


def test_own_certificate_lasts_as_long_as_its_chain() -> None:
    middle = ROOT.intermediate(now_unix_s=NOW, ends_in_s=100.0)
    assert verify_own(middle.issue(now_unix_s=NOW).chain, NOW).not_after_unix_s == NOW + 100


def test_roots() -> None:
    assert check_root(ROOT.der).subject_key_id == ROOT.key_id
    old = pki.root(now_unix_s=NOW, ends_in_s=-1000.0, starts_in_s=-2000.0)
    assert check_root(old.der).subject_key_id == old.key_id  # its time is judged where it is used
    with pytest.raises(UntrustedPeerError, match="intermediate"):
        check_root(MIDDLE.der)
    with pytest.raises(UntrustedPeerError, match="not an authority"):
        check_root(leaf().der)
    with pytest.raises(UntrustedPeerError, match="malformed"):
        check_root(b"x")


def test_a_root_needs_a_key_identifier() -> None:
    with pytest.raises(UntrustedPeerError, match="needs a subject key identifier"):
        check_root(pki.root(now_unix_s=NOW, has_key_id=False).der)


def test_authorities_may_be_checked_without_a_clock() -> None:
    old = ROOT.intermediate(now_unix_s=NOW, ends_in_s=-1000.0, starts_in_s=-2000.0).der
    assert check_authority(old).constraints.is_authority
    with pytest.raises(CertificateExpiredError):
        check_authority(old, NOW)
