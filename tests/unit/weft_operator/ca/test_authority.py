"""What is issued: exactly the certificate peers accept, whatever was asked for."""

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from weft_contract.identity import IdentityGrammarError, SpiffeId, spiffe_id
from weft_core.identity import check_authority, check_root, read_certificates, verify_own
from weft_operator.ca import (
    Authority,
    CaError,
    IssuedCertificate,
    SigningKey,
    create_intermediate,
    create_root,
    public_key_of_request,
)
from weft_operator.ca.authority import DAYS, MIN_LEAF_TTL_S, check_public_key
from weft_testing import pki

NOW = 1_800_000_000.0
DOMAIN = "cluster.local"
ALICE = spiffe_id(DOMAIN, "shop", "alice")
ROOT = create_root(DOMAIN, now_unix_s=NOW)
MIDDLE = create_intermediate(ROOT, DOMAIN, now_unix_s=NOW)
KEY = ec.generate_private_key(ec.SECP256R1())


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def issue(identity: SpiffeId = ALICE, now: float = NOW, ttl_s: float = DAYS) -> IssuedCertificate:
    return Authority(MIDDLE, DOMAIN).issue(KEY.public_key(), identity, now_unix_s=now, ttl_s=ttl_s)


def leaf(issued: IssuedCertificate) -> x509.Certificate:
    return x509.load_pem_x509_certificates(issued.chain_pem)[0]


# -- leaves ---------------------------------------------------------------------------------------------------------


def test_a_leaf_says_what_it_must() -> None:
    issued = issue()
    certificate = leaf(issued)
    assert certificate.public_key() == KEY.public_key()
    assert certificate.subject == x509.Name([])
    assert certificate.not_valid_before_utc == datetime.fromtimestamp(NOW - 60, UTC)
    assert certificate.not_valid_after_utc == datetime.fromtimestamp(NOW + DAYS, UTC)
    assert issued.not_after_unix_s == NOW + DAYS
    assert issued.serial == certificate.serial_number
    assert {item.oid._name: item.critical for item in certificate.extensions} == {
        "basicConstraints": True,
        "keyUsage": True,
        "extendedKeyUsage": False,
        "subjectAltName": True,
        "authorityKeyIdentifier": False,
    }
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.UniformResourceIdentifier("spiffe://cluster.local/ns/shop/sa/alice")]
    purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(purposes) == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}


def test_the_agents_verifier_accepts_the_chain() -> None:
    issued = issue()
    chain = read_certificates(issued.chain_pem, at_most=5)
    own = verify_own(chain, NOW)
    assert own.identity == issued.identity == ALICE
    assert own.not_after_unix_s == issued.not_after_unix_s
    assert chain[1] == der(MIDDLE.certificate)
    certificate = leaf(issued)
    certificate.verify_directly_issued_by(MIDDLE.certificate)
    MIDDLE.certificate.verify_directly_issued_by(ROOT.certificate)


def test_serials_are_128_random_bits() -> None:
    serials = {issue().serial for _ in range(50)}
    assert len(serials) == 50
    assert {serial.bit_length() for serial in serials} == {129}
    zero = Authority(MIDDLE, DOMAIN, randomness=lambda count: bytes(count))
    assert zero.issue(KEY.public_key(), ALICE, now_unix_s=NOW).serial == 1 << 128


def test_a_clock_that_is_behind_still_accepts() -> None:
    for chain in (read_certificates(issue().chain_pem, at_most=5),):
        assert verify_own(chain, NOW - 119).identity == ALICE  # backdated by 60 s, and 60 s of tolerance


def test_a_leaf_never_outlives_its_intermediate() -> None:
    ends = MIDDLE.not_after_unix_s
    assert issue(now=ends - 1000, ttl_s=DAYS).not_after_unix_s == ends
    with pytest.raises(CaError, match="would last 200 s"):
        issue(now=ends - 200)
    with pytest.raises(CaError, match="would last 0 s"):
        issue(now=ends + 200)
    with pytest.raises(CaError, match="ask for longer"):
        issue(ttl_s=MIN_LEAF_TTL_S - 1)
    assert issue(ttl_s=MIN_LEAF_TTL_S).not_after_unix_s == NOW + MIN_LEAF_TTL_S


def test_a_leaf_never_begins_before_its_intermediate() -> None:
    later = create_intermediate(ROOT, DOMAIN, now_unix_s=NOW + 1000)
    issued = Authority(later, DOMAIN).issue(KEY.public_key(), ALICE, now_unix_s=NOW + 950)
    assert leaf(issued).not_valid_before_utc.timestamp() == NOW + 940


def test_other_trust_domains_are_refused() -> None:
    with pytest.raises(CaError, match=r"is not of trust domain cluster\.local"):
        issue(spiffe_id("other.example", "shop", "alice"))


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        pki.rsa_key(2048),
    ],
)
def test_keys_that_peers_accept_are_signed(key: pki.PrivateKey) -> None:
    issued = Authority(MIDDLE, DOMAIN).issue(check_public_key(key.public_key()), ALICE, now_unix_s=NOW)
    assert verify_own(read_certificates(issued.chain_pem, at_most=5), NOW).identity == ALICE


WEAK = [
    ec.generate_private_key(ec.SECP521R1()),
    ec.generate_private_key(ec.SECP256K1()),
    ed448.Ed448PrivateKey.generate(),
    dsa.generate_private_key(1024),
    pki.rsa_key(1024),
    pki.rsa_key(2048, exponent=3),
]


@pytest.mark.parametrize("key", WEAK)
def test_keys_that_peers_refuse_are_not_signed(
    key: ec.EllipticCurvePrivateKey | ed448.Ed448PrivateKey | dsa.DSAPrivateKey | rsa.RSAPrivateKey,
) -> None:
    with pytest.raises(CaError, match="make a P-256 key"):
        Authority(MIDDLE, DOMAIN).issue(key.public_key(), ALICE, now_unix_s=NOW)  # type: ignore[arg-type]  # on purpose


# -- requests -------------------------------------------------------------------------------------------------------


def request(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = KEY) -> bytes:
    """A request that asks for far more than it will get."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root of all evil")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=9), critical=True)
    uri = x509.UniformResourceIdentifier("spiffe://cluster.local/ns/kube-system/sa/admin")
    builder = builder.add_extension(x509.SubjectAlternativeName([uri]), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_only_the_key_of_a_request_counts() -> None:
    key = public_key_of_request(request())
    assert key == KEY.public_key()
    issued = Authority(MIDDLE, DOMAIN).issue(key, ALICE, now_unix_s=NOW)
    assert b"evil" not in der(leaf(issued))
    assert verify_own(read_certificates(issued.chain_pem, at_most=5), NOW).identity == ALICE


def test_a_request_must_be_signed_with_its_key() -> None:
    good = x509.load_pem_x509_csr(request()).public_bytes(serialization.Encoding.DER)
    forged = bytearray(good)
    forged[-1] ^= 1
    text = x509.load_der_x509_csr(bytes(forged)).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(CaError, match="not signed with the key"):
        public_key_of_request(text)


@pytest.mark.parametrize("text", [b"", b"garbage", request()[:-40], KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)])  # fmt: skip
def test_what_is_no_request_is_refused(text: bytes) -> None:
    with pytest.raises(CaError, match="not a certificate signing request"):
        public_key_of_request(text)


def test_a_request_with_a_weak_key_is_refused() -> None:
    with pytest.raises(CaError, match="make a P-256 key"):
        public_key_of_request(request(pki.rsa_key(1024)))


# -- authorities ------------------------------------------------------------------------------------------------------


def test_a_root() -> None:
    facts = check_root(der(ROOT.certificate))
    assert facts.subject_key_id == ROOT.key_id
    assert facts.constraints.path_length == 1
    assert (facts.not_before_unix_s, facts.not_after_unix_s) == (NOW - 60, NOW + 3650 * DAYS)
    assert ROOT.not_after_unix_s == NOW + 3650 * DAYS


def test_an_intermediate() -> None:
    facts = check_authority(der(MIDDLE.certificate), NOW)
    assert facts.constraints.path_length == 0
    assert facts.not_after_unix_s == NOW + 365 * DAYS
    constraint = MIDDLE.certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert constraint.critical
    assert constraint.value.permitted_subtrees == [x509.UniformResourceIdentifier(DOMAIN)]
    assert constraint.value.excluded_subtrees is None


def test_an_intermediate_stays_within_its_root() -> None:
    ends = ROOT.not_after_unix_s
    assert create_intermediate(ROOT, DOMAIN, now_unix_s=ends - DAYS).not_after_unix_s == ends
    with pytest.raises(CaError, match="the root has ended"):
        create_intermediate(ROOT, DOMAIN, now_unix_s=ends)
    early = create_intermediate(ROOT, DOMAIN, now_unix_s=NOW - 500)
    assert early.certificate.not_valid_before_utc.timestamp() == NOW - 60


def test_no_two_authorities_share_a_name_or_key() -> None:
    made: list[SigningKey] = [create_root(DOMAIN, now_unix_s=NOW) for _ in range(3)]
    made += [create_intermediate(ROOT, DOMAIN, now_unix_s=NOW) for _ in range(3)]
    assert len({each.certificate.subject for each in made}) == 6
    assert len({each.key_id for each in made}) == 6


def test_trust_domains_are_checked() -> None:
    for domain in ("", "Cluster.Local", "a/b", "x" * 256):
        with pytest.raises(IdentityGrammarError):
            create_root(domain, now_unix_s=NOW)
        with pytest.raises(IdentityGrammarError):
            create_intermediate(ROOT, domain, now_unix_s=NOW)
        with pytest.raises(IdentityGrammarError):
            Authority(MIDDLE, domain)
    with pytest.raises(CaError, match="begins with a dot"):
        create_intermediate(ROOT, ".local", now_unix_s=NOW)
    long_domain = "x" * 255
    root = create_root(long_domain, now_unix_s=NOW)
    assert check_root(der(root.certificate)).issuer == check_root(der(root.certificate)).subject
    create_intermediate(root, long_domain, now_unix_s=NOW)
