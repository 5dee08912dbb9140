"""A certificate authority in a directory: for laboratories, plain hosts and tests, where no operator issues certificates.

    <directory>/                       0700
        ca.json                        0644: schema and trust domain
        roots/<key id>.pem             0600: private key and certificate of a root; every one of them is in the bundle
        intermediate.pem               0600: private key and certificate of what signs

`issue` writes a workload's key pair, and the roots, into an identity directory as agents read it
(`weft_contract.identity_layout`).

Rotation, each step when the one before has reached everywhere: `add_root` (the bundle has two, the old one still signs),
`sign_with` (a new intermediate under the new root; issue all certificates again), `retire_root` (the old root leaves).
The intermediate is renewed by `issue` itself when a third of its life is left.

A development authority keeps its root beside what signs, which a production one must not: whoever reads the directory can
be anybody in the mesh.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from weft_contract.identity import IdentityGrammarError, SpiffeId, check_trust_domain, spiffe_id
from weft_contract.identity_layout import (
    DIRECTORY_MODE,
    KEY_PAIR_MODE,
    ROOTS_DIRECTORY,
    ROOTS_MODE,
    SUFFIX,
    key_pair_file_name,
    roots_file_name,
)
from weft_contract.limits import DEFAULT_LIMITS
from weft_operator.ca.authority import (
    INTERMEDIATE_TTL_S,
    Authority,
    CaError,
    SigningKey,
    create_intermediate,
    create_root,
)
from weft_operator.ca.files import make_directory, write_file
from weft_operator.ca.pem import NAME_CHARACTERS, key_pem, read_signing_key

SCHEMA: Final = "weft.dev/development-ca/v1"
RENEW_INTERMEDIATE_S: Final = INTERMEDIATE_TTL_S / 3

_STATE_FILE: Final = "ca.json"
_INTERMEDIATE_FILE: Final = "intermediate.pem"


class _State(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    schema: str
    trust_domain: str


@dataclass(frozen=True, slots=True)
class RootInfo:
    """One root of the bundle."""

    name: str
    """First characters of its key identifier; what `sign_with` and `retire_root` take."""
    not_after_unix_s: float
    signs: bool
    """Whether the present intermediate is below it."""


@dataclass(frozen=True, slots=True)
class IssuedFile:
    """A key pair that was written."""

    path: Path
    identity: SpiffeId
    not_after_unix_s: float


def init(directory: Path, *, now_unix_s: float, trust_domain: str = "cluster.local") -> RootInfo:
    """Make an authority: one root and one intermediate.

    Args:
        directory: empty, or not there yet.
        now_unix_s: wall clock, seconds.
        trust_domain: of every identity it will issue.

    Raises:
        CaError: something is in the directory already, or the trust domain is none.
    """
    try:
        check_trust_domain(trust_domain)
        if directory.exists() and any(directory.iterdir()):
            raise CaError(f"{directory} is not empty: give another directory, or remove this one and all it has issued")
        root = create_root(trust_domain, now_unix_s=now_unix_s)
        intermediate = create_intermediate(root, trust_domain, now_unix_s=now_unix_s)
        make_directory(directory, DIRECTORY_MODE)
        make_directory(directory / ROOTS_DIRECTORY, DIRECTORY_MODE)
        _write_key(_root_path(directory, _name_of(root)), root)
        _write_key(directory / _INTERMEDIATE_FILE, intermediate)
        state = _State(schema=SCHEMA, trust_domain=trust_domain)
        write_file(directory / _STATE_FILE, msgspec.json.encode(state) + b"\n", ROOTS_MODE)  # last: now it is one
    except IdentityGrammarError as exc:
        raise CaError(str(exc)) from exc
    except OSError as exc:
        raise _file_trouble(exc, directory) from exc
    return RootInfo(_name_of(root), root.not_after_unix_s, signs=True)


def trust_domain_of(directory: Path) -> str:
    """Return the trust domain of an authority.

    Raises:
        CaError: there is none in the directory.
    """
    return _read_state(directory).trust_domain


def issue(
    directory: Path,
    namespace: str,
    service_account: str,
    out: Path,
    *,
    now_unix_s: float,
    ttl_s: float = DEFAULT_LIMITS.certificate_ttl_s,
) -> IssuedFile:
    """Make a new key, issue its certificate, and write both, with the roots, into an identity directory.

    Args:
        directory: the authority.
        namespace: of the workload.
        service_account: of the workload.
        out: the identity directory; made if it is not there. A certificate of the same identity is replaced.
        now_unix_s: wall clock, seconds.
        ttl_s: lifetime in seconds.

    Raises:
        CaError: no authority there, a name that is none, or something else stands where the file belongs.
    """
    state = _read_state(directory)
    try:
        identity = spiffe_id(state.trust_domain, namespace, service_account)
    except IdentityGrammarError as exc:
        raise CaError(str(exc)) from exc
    signer = _fresh_intermediate(directory, state.trust_domain, now_unix_s)
    key = ec.generate_private_key(ec.SECP256R1())
    issued = Authority(signer, state.trust_domain).issue(key.public_key(), identity, now_unix_s=now_unix_s, ttl_s=ttl_s)
    path = out / key_pair_file_name(identity)
    try:
        make_directory(out, DIRECTORY_MODE)
        _check_replaceable(path, identity)
        _write_bundle(directory, state.trust_domain, out)
        write_file(path, key_pem(key) + issued.chain_pem, KEY_PAIR_MODE)
    except OSError as exc:
        raise _file_trouble(exc, out) from exc
    return IssuedFile(path, identity, issued.not_after_unix_s)


def bundle(directory: Path) -> tuple[str, ...]:
    """Return every root in PEM, the one that signs first: what a `TrustBundle` holds.

    Raises:
        CaError: no authority there.
    """
    _read_state(directory)
    signer = _read_key(directory / _INTERMEDIATE_FILE)
    found = sorted(_read_roots(directory).items(), key=lambda item: (not _is_above(item[1], signer), item[0]))
    return tuple(root.certificate_pem.decode("ascii") for _, root in found)


def write_bundle(directory: Path, out: Path) -> Path:
    """Write the roots alone into an identity directory, for agents whose certificates come from elsewhere or not yet.

    Raises:
        CaError: no authority there, or it cannot be written.
    """
    state = _read_state(directory)
    try:
        make_directory(out, DIRECTORY_MODE)
        return _write_bundle(directory, state.trust_domain, out)
    except OSError as exc:
        raise _file_trouble(exc, out) from exc


# -- rotation -------------------------------------------------------------------------------------------------------


def list_roots(directory: Path) -> tuple[RootInfo, ...]:
    """Return the roots of the bundle, by name.

    Raises:
        CaError: no authority there.
    """
    _read_state(directory)
    signer = _read_key(directory / _INTERMEDIATE_FILE)
    return tuple(
        RootInfo(name, root.not_after_unix_s, signs=_is_above(root, signer))
        for name, root in sorted(_read_roots(directory).items())
    )


def add_root(directory: Path, *, now_unix_s: float) -> RootInfo:
    """First step of a rotation: a second root joins the bundle and signs nothing yet.

    Raises:
        CaError: no authority there.
    """
    state = _read_state(directory)
    root = create_root(state.trust_domain, now_unix_s=now_unix_s)
    try:
        _write_key(_root_path(directory, _name_of(root)), root)
    except OSError as exc:
        raise _file_trouble(exc, directory) from exc
    return RootInfo(_name_of(root), root.not_after_unix_s, signs=False)


def sign_with(directory: Path, root_name: str, *, now_unix_s: float) -> None:
    """Second step: a new intermediate below this root signs from now on. Also renews one below the same root.

    Raises:
        CaError: no such root.
    """
    state = _read_state(directory)
    _renew(directory, state.trust_domain, _root_named(directory, root_name), now_unix_s)


def retire_root(directory: Path, root_name: str) -> None:
    """Last step: a root leaves the bundle; what was issued below it is refused wherever the new bundle arrives.

    Raises:
        CaError: no such root, or it is the one that signs.
    """
    _read_state(directory)
    root = _root_named(directory, root_name)
    if _is_above(root, _read_key(directory / _INTERMEDIATE_FILE)):
        raise CaError(f"root {root_name} is the one that signs: let another sign first")
    try:
        _root_path(directory, root_name).unlink()
    except OSError as exc:
        raise _file_trouble(exc, directory) from exc


def _fresh_intermediate(directory: Path, trust_domain: str, now_unix_s: float) -> SigningKey:
    signer = _read_key(directory / _INTERMEDIATE_FILE)
    if signer.not_after_unix_s - now_unix_s > RENEW_INTERMEDIATE_S:
        return signer
    for root in _read_roots(directory).values():
        if _is_above(root, signer):
            return _renew(directory, trust_domain, root, now_unix_s)
    raise CaError(f"the root above {directory / _INTERMEDIATE_FILE} is gone: choose another to sign with")


def _renew(directory: Path, trust_domain: str, root: SigningKey, now_unix_s: float) -> SigningKey:
    intermediate = create_intermediate(root, trust_domain, now_unix_s=now_unix_s)
    try:
        _write_key(directory / _INTERMEDIATE_FILE, intermediate)
    except OSError as exc:
        raise _file_trouble(exc, directory) from exc
    return intermediate


def _is_above(root: SigningKey, signer: SigningKey) -> bool:
    above = signer.certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    return above.key_identifier == root.key_id


# -- files ------------------------------------------------------------------------------------------------------------


def _read_state(directory: Path) -> _State:
    path = directory / _STATE_FILE
    try:
        state = msgspec.json.decode(path.read_bytes(), type=_State)
        check_trust_domain(state.trust_domain)
    except FileNotFoundError as exc:
        raise CaError(f"there is no certificate authority in {directory}: make one with `weft ca init`") from exc
    except OSError as exc:
        raise _file_trouble(exc, path) from exc
    except (msgspec.DecodeError, IdentityGrammarError) as exc:
        raise CaError(f"{path} was not written by `weft ca init`: {exc}") from exc
    if state.schema != SCHEMA:
        raise CaError(f"{path} has schema {state.schema!r}, this version knows {SCHEMA!r}")
    return state


def _read_roots(directory: Path) -> dict[str, SigningKey]:
    try:
        paths = sorted((directory / ROOTS_DIRECTORY).glob(f"[!.]*{SUFFIX}"))
    except OSError as exc:
        raise _file_trouble(exc, directory) from exc
    roots = {path.stem: _read_key(path) for path in paths}
    if not roots:
        raise CaError(
            f"{directory / ROOTS_DIRECTORY} holds no root: this authority cannot be used any more, make a new one"
        )
    return roots


def _root_named(directory: Path, name: str) -> SigningKey:
    roots = _read_roots(directory)
    if name not in roots:
        raise CaError(f"there is no root {name!r}, only {', '.join(sorted(roots))}")
    return roots[name]


def _root_path(directory: Path, name: str) -> Path:
    return directory / ROOTS_DIRECTORY / f"{name}{SUFFIX}"


def _name_of(root: SigningKey) -> str:
    return root.key_id.hex()[:NAME_CHARACTERS]


def _read_key(path: Path) -> SigningKey:
    try:
        text = path.read_bytes()
    except OSError as exc:
        raise _file_trouble(exc, path) from exc
    return read_signing_key(text, text, str(path))


def _write_key(path: Path, signing_key: SigningKey) -> None:
    write_file(path, key_pem(signing_key.key) + signing_key.certificate_pem, KEY_PAIR_MODE)


def _write_bundle(directory: Path, trust_domain: str, out: Path) -> Path:
    make_directory(out / ROOTS_DIRECTORY, DIRECTORY_MODE)
    path = out / roots_file_name(trust_domain)
    write_file(path, "".join(bundle(directory)).encode("ascii"), ROOTS_MODE)
    return path


def _check_replaceable(path: Path, identity: SpiffeId) -> None:
    """Refuse to write over anything but a certificate of the same identity."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return
    try:
        names = x509.load_pem_x509_certificate(text).extensions.get_extension_for_class(x509.SubjectAlternativeName)
        found = names.value.get_values_for_type(x509.UniformResourceIdentifier)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        found = []
    if found != [str(identity)]:
        what = f"the certificate of {found[0]}" if found else "no certificate of ours"
        raise CaError(f"{path} holds {what}, not of {identity}: remove it, or issue into another directory")


def _file_trouble(exc: OSError, where: Path) -> CaError:
    return CaError(f"{exc.filename or where}: {exc.strerror}")
