"""A new key, the request for its certificate, and what the answer must be before anybody uses it.

Theory: the key is made here and never leaves the node. Of the request the operator takes the public key alone. The answer is
judged as if it came from a stranger: it must be for our key and the identity we asked for, pass the rules that peers will apply
(`weft_core.identity.verify_own`), and its signatures must lead to a root that this node holds for the trust domain, since what
our own bundle does not vouch for, our peers' will not either.

Source: RFC 2986; SPIFFE X509-SVID §3-5.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from weft_agent.operator_client.key_directory import Stored
from weft_contract.identity import SpiffeId
from weft_contract.limits import Limits
from weft_contract.stream import CertificateAnswer, CertificateRequest
from weft_core.errors import IdentityError
from weft_core.identity import PemError, read_certificate, read_certificates, verify_own, write_pem
from weft_core.identity.pem import CERTIFICATE


class AnswerError(Exception):
    """A certificate that must not be used; the message says why."""


@dataclass(frozen=True, slots=True)
class KeyWithRequest:
    """A new key and the request to be sent."""

    key_pem: bytes = field(repr=False)
    public_key: bytes
    """SubjectPublicKeyInfo, DER."""
    request: CertificateRequest


def new_key_with_request(identity: SpiffeId) -> KeyWithRequest:
    """Make a key (P-256) and sign a request with it; takes about a millisecond."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return KeyWithRequest(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        _public_info(key.public_key()),
        CertificateRequest(
            namespace=identity.namespace,
            service_account=identity.service_account,
            csr=request.public_bytes(serialization.Encoding.PEM).decode("ascii"),
        ),
    )


def judge_answer(
    answer: CertificateAnswer,
    made: KeyWithRequest,
    identity: SpiffeId,
    roots: Iterable[str],
    now_unix_s: float,
    limits: Limits,
) -> tuple[bytes, Stored]:
    """Return the chain to be stored, as PEM written anew, and what is known of it.

    Args:
        answer: the operator's.
        made: what was asked with.
        identity: whose certificate was asked for.
        roots: PEM of the trust domain's roots.
        now_unix_s: wall clock, seconds.
        limits: `chain_length` and `clock_skew_s`.

    Raises:
        AnswerError: it must not be used.
    """
    try:
        chain = read_certificates(answer.chain.encode("ascii", "replace"), at_most=limits.chain_length)
        own = verify_own(chain, now_unix_s, limits)
        leaf = x509.load_der_x509_certificate(chain[0])
        public_key = leaf.public_key()
    except (PemError, IdentityError, ValueError) as exc:
        raise AnswerError(f"the operator's certificate for {identity} cannot be used: {exc}") from exc
    if own.identity != identity:
        raise AnswerError(f"the operator sent a certificate of {own.identity}, {identity} was asked for")
    if _public_info(public_key) != made.public_key:
        raise AnswerError(f"the operator's certificate for {identity} is for another key than ours")
    if not leads_to(chain, roots):
        raise AnswerError(
            f"no root that this node holds vouches for the operator's certificate for {identity};"
            " is the trust bundle older than the authority?"
        )
    pem = b"".join(write_pem(CERTIFICATE, der) for der in chain)
    return pem, Stored(chain, float(read_certificate(chain[0]).not_before_unix_s), float(own.not_after_unix_s))


def leads_to(chain: tuple[bytes, ...], roots: Iterable[str]) -> bool:
    """Tell whether every certificate of a chain was signed by the next one, and the last by a root.

    Args:
        chain: DER, leaf first.
        roots: PEM texts; what cannot be read vouches for nobody.
    """
    certificates = [x509.load_der_x509_certificate(der) for der in chain]
    return all(_signed(below, above) for below, above in pairwise(certificates)) and any(
        _signed(certificates[-1], root) for root in _roots(roots)
    )


def _roots(texts: Iterable[str]) -> Iterable[x509.Certificate]:
    for text in texts:
        try:
            yield from x509.load_pem_x509_certificates(text.encode("ascii", "replace"))
        except ValueError:
            continue


def _signed(below: x509.Certificate, above: x509.Certificate) -> bool:
    try:
        below.verify_directly_issued_by(above)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _public_info(key: object) -> bytes:
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return b""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
