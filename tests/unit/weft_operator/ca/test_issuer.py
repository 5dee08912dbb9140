"""Somebody else's authority: used when key, chain and roots belong together, refused with the reason otherwise."""

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from weft_contract.identity import spiffe_id
from weft_operator.ca import Authority, CaError, SigningKey, create_intermediate, create_root
from weft_operator.ca.issuer import read_issuer
from weft_operator.ca.pem import key_pem
from weft_operator.ca.state import signing_key

NOW = 1_800_000_000.0
ROOT = create_root("mesh.test", now_unix_s=NOW)
INTERMEDIATE = create_intermediate(ROOT, "mesh.test", now_unix_s=NOW)
STRANGER = create_root("mesh.test", now_unix_s=NOW)


def data(signer: SigningKey = INTERMEDIATE, *roots: SigningKey, chain: bytes = b"") -> dict[str, bytes]:
    ca = b"".join(root.certificate_pem for root in roots or (ROOT,))
    return {"tls.crt": chain or signer.chain_pem, "tls.key": key_pem(signer.key), "ca.crt": ca}


def test_an_issuer_signs_below_its_root() -> None:
    issuer = read_issuer(data(), "Secret x")
    assert [root.certificate.encode() for root in issuer.roots] == [ROOT.certificate_pem]
    assert issuer.signer.root == issuer.roots[0].name
    assert issuer.roots[0].key == "", "it is theirs"


def test_a_root_that_stands_in_the_chain_is_not_sent_to_peers() -> None:
    issuer = read_issuer(data(chain=INTERMEDIATE.certificate_pem + ROOT.certificate_pem), "Secret x")
    assert issuer.signer.certificate.count("BEGIN") == 1


def test_several_roots_are_kept_in_the_same_order_always() -> None:
    one = read_issuer(data(INTERMEDIATE, ROOT, STRANGER), "Secret x")
    other = read_issuer(data(INTERMEDIATE, STRANGER, ROOT), "Secret x")
    assert one == other
    assert len(one.roots) == 2


def authority(issuer: SigningKey | None, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, name: str) -> SigningKey:
    """Make an authority as other tools do: RSA, no name constraint."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(subject).public_key(key.public_key())
    builder = builder.issuer_name(issuer.certificate.subject if issuer else subject).serial_number(7)
    builder = builder.not_valid_before(datetime.fromtimestamp(NOW - 60, UTC))
    builder = builder.not_valid_after(datetime.fromtimestamp(NOW + 90 * 86400, UTC))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return SigningKey(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def test_a_longer_chain_with_rsa_keys() -> None:
    root = authority(None, rsa.generate_private_key(65537, 2048), "root")
    upper = authority(root, ec.generate_private_key(ec.SECP256R1()), "upper")
    lower = authority(upper, rsa.generate_private_key(65537, 2048), "lower")
    issuer = read_issuer(data(lower, root, chain=lower.certificate_pem + upper.certificate_pem), "Secret x")
    signer = Authority(signing_key(issuer.signer), "mesh.test")
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    issued = signer.issue(key, spiffe_id("mesh.test", "shop", "web"), now_unix_s=NOW)
    leaf, *above = x509.load_pem_x509_certificates(issued.chain_pem)
    assert above == [lower.certificate, upper.certificate]
    leaf.verify_directly_issued_by(lower.certificate)


@pytest.mark.parametrize("missing", ["tls.crt", "tls.key", "ca.crt"])
def test_what_is_missing_is_named(missing: str) -> None:
    broken = {key: value for key, value in data().items() if key != missing}
    with pytest.raises(CaError, match=f"Secret x has no {missing}: it must hold"):
        read_issuer(broken, "Secret x")


LEAF_KEY = ec.generate_private_key(ec.SECP256R1())
LEAF = Authority(INTERMEDIATE, "mesh.test").issue(
    LEAF_KEY.public_key(), spiffe_id("mesh.test", "a", "b"), now_unix_s=NOW
)
ENCRYPTED = INTERMEDIATE.key.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (data(INTERMEDIATE, STRANGER), "does not lead to a root"),
        (data(ROOT, ROOT), "a self-signed issuer cannot be used"),
        ({**data(), "tls.key": key_pem(STRANGER.key)}, "not its certificate's"),
        ({**data(), "tls.key": ENCRYPTED}, "private key without a password"),
        ({**data(), "tls.key": b"x"}, "private key without a password"),
        ({**data(), "ca.crt": b"x"}, "does not hold certificates in PEM"),
        ({**data(), "tls.crt": LEAF.chain_pem, "tls.key": key_pem(LEAF_KEY)}, "is no authority's"),
        (data(chain=INTERMEDIATE.certificate_pem + STRANGER.certificate_pem), "is not a chain"),
    ],
)
def test_what_does_not_belong_together_is_told(broken: dict[str, bytes], says: str) -> None:
    with pytest.raises(CaError, match=says):
        read_issuer(broken, "Secret x")
