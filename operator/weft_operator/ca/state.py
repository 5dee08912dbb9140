"""What an authority of the mesh knows of itself, as it is kept in a Secret: every replica can go on from it.

One value, replaced whole, so that no reader ever sees half of a step. Keys are in it: whoever may read the Secret can be
anybody in the mesh.
"""

from typing import Final, Literal

import msgspec

from weft_contract.identity import IdentityGrammarError, check_trust_domain
from weft_operator.ca.authority import CaError, SigningKey, create_intermediate, create_root
from weft_operator.ca.pem import authority_name, key_pem, read_certificates, read_signing_key

SCHEMA: Final = "weft.dev/ca/v1"


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    pass


class RootRecord(_Record, frozen=True, kw_only=True):
    """A root of the bundle."""

    name: str
    """First characters of its key identifier."""
    certificate: str
    key: str = ""
    """Empty: somebody else keeps it."""


class SignerRecord(_Record, frozen=True, kw_only=True):
    """What signs leaves."""

    root: str
    """Name of the root above it."""
    certificate: str
    """With those above it, up to below the root."""
    key: str


class Rotation(_Record, frozen=True, kw_only=True):
    """Roots are being replaced.

    First the bundle holds old and new (`moved_unix_s` None), until every node has it in force; then the new one signs; when no
    leaf of an old one can be valid any more the old ones go.
    """

    roots: tuple[str, ...]
    """Names of those that stay."""
    since_unix_s: float
    signer: SignerRecord | None = None
    """What is to sign; None: an intermediate that is made then, below the first of `roots`."""
    moved_unix_s: float | None = None


class FormerDomain(_Record, frozen=True, kw_only=True):
    """The trust domain that was left."""

    trust_domain: str
    roots: tuple[str, ...]
    """Certificates."""
    until_unix_s: float
    """By then no leaf of it is valid any more."""


class CaState(_Record, frozen=True, kw_only=True):
    """All of it."""

    schema: Literal["weft.dev/ca/v1"] = SCHEMA
    trust_domain: str
    roots: tuple[RootRecord, ...]
    signer: SignerRecord
    rotation: Rotation | None = None
    former: tuple[FormerDomain, ...] = ()

    @property
    def bundles(self) -> dict[str, tuple[str, ...]]:
        """Roots by trust domain, as they are distributed."""
        former = {each.trust_domain: each.roots for each in self.former}
        return former | {self.trust_domain: tuple(root.certificate for root in self.roots)}

    def root(self, name: str) -> RootRecord | None:
        """Return a root of the bundle."""
        return next((root for root in self.roots if root.name == name), None)


def new_state(trust_domain: str, now_unix_s: float) -> CaState:
    """Make an authority.

    Raises:
        CaError: the trust domain cannot be one.
    """
    try:
        root = create_root(trust_domain, now_unix_s=now_unix_s)
    except IdentityGrammarError as exc:
        raise CaError(str(exc)) from exc
    return CaState(
        trust_domain=trust_domain,
        roots=(root_record(root),),
        signer=signer_record(create_intermediate(root, trust_domain, now_unix_s=now_unix_s), root),
    )


def root_record(root: SigningKey) -> RootRecord:
    """Write down a root whose key we keep."""
    return RootRecord(
        name=authority_name(root.certificate), certificate=root.certificate_pem.decode(), key=key_pem(root.key).decode()
    )


def signer_record(signer: SigningKey, root: SigningKey) -> SignerRecord:
    """Write down what signs, below a root of ours."""
    return SignerRecord(
        root=authority_name(root.certificate),
        certificate=signer.chain_pem.decode(),
        key=key_pem(signer.key).decode(),
    )


def signing_key(record: RootRecord | SignerRecord) -> SigningKey:
    """Read a record's key and certificate.

    Raises:
        CaError: they cannot be used.
    """
    what = f"root {record.name}" if isinstance(record, RootRecord) else f"what signs below root {record.root}"
    return read_signing_key(record.key.encode(), record.certificate.encode(), what)


def not_after(record: RootRecord | SignerRecord) -> float:
    """Return the last second of validity."""
    return read_certificates(record.certificate.encode(), "an authority")[0].not_valid_after_utc.timestamp()


def encode_state(state: CaState) -> bytes:
    """Return the JSON of a state."""
    return msgspec.json.format(msgspec.json.encode(state), indent=1)


def decode_state(data: bytes, where: str) -> CaState:
    """Read a state, with every key and certificate in it.

    Raises:
        CaError: it is none; it says where and what to do.
    """
    remedy = "restore it from a backup; deleting it makes a new authority, and every node must then be restarted"
    try:
        state = msgspec.json.decode(data, type=CaState)
        check_trust_domain(state.trust_domain)
        _check(state)
    except (msgspec.MsgspecError, UnicodeDecodeError, IdentityGrammarError, CaError) as exc:
        raise CaError(f"{where} is not an authority that this version can use ({exc}): {remedy}") from exc
    return state


def _check(state: CaState) -> None:
    for root in state.roots:
        (certificate,) = read_certificates(root.certificate.encode(), f"root {root.name}")
        if authority_name(certificate) != root.name:
            raise CaError(f"root {root.name} is another certificate's name")
        if root.key:
            signing_key(root)
    signing_key(state.signer)
    if state.root(state.signer.root) is None:
        raise CaError(f"the root above what signs, {state.signer.root}, is not in the bundle")
    if state.rotation is not None:
        if not state.rotation.roots or any(state.root(name) is None for name in state.rotation.roots):
            raise CaError("it rotates to a root that is not in the bundle")
        if state.rotation.signer is not None:
            signing_key(state.rotation.signer)
