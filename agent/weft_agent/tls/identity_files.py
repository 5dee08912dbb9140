"""The identity directory as an agent reads it: key pairs and bundles that can be used, and what is wrong with the rest.

Theory: one broken file costs one identity, never the others, and is reported with its path and a remedy. Everything that
could fail later in a worker is tried here: the grammar of names, the SPIFFE rules, the permissions, and whether OpenSSL
takes the key with the certificate. Reading is plain blocking code without side effects; whoever wants to hear of changes
watches the directory and calls again.

The layout is `weft_contract.identity_layout`; `weft_operator.ca.development` writes it.
"""

import hashlib
import os
import ssl
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from weft_agent.channel.memfd import sealed
from weft_agent.tls.contexts import FD_DIRECTORY
from weft_contract.identity import IdentityGrammarError, SpiffeId
from weft_contract.identity_layout import (
    KEY_PAIR_MODE,
    MAX_FILE_BYTES,
    ROOTS_DIRECTORY,
    SUFFIX,
    key_pair_file_name,
    trust_domain_of_file_name,
)
from weft_contract.limits import DEFAULT_LIMITS, Limits
from weft_contract.problems import Problem
from weft_core.errors import CertificateExpiredError, IdentityError
from weft_core.identity import PemBlock, PemError, read_certificate, read_pem, verify_own, write_pem
from weft_core.identity.pem import CERTIFICATE, ENCRYPTED_PRIVATE_KEY, PRIVATE_KEYS

_REISSUE: Final = "issue it again: `weft ca issue`"
_PRIVATE: Final = 0o077
"""Permission bits of others, of which a key file may have none."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A workload's certificate with its private key."""

    identity: SpiffeId
    chain_pem: bytes
    """Leaf first, intermediates after it."""
    not_before_unix_s: float
    not_after_unix_s: float
    digest: str
    """Content hash of key and chain; a change means a renewal."""
    _pem: bytes = field(repr=False)

    def seal(self) -> int:
        """Return a descriptor of sealed memory with private key and chain, as `TlsContexts.put_key_pair` takes it."""
        return sealed("weft-key-pair", self._pem)


@dataclass(frozen=True, slots=True)
class IdentityDirectory:
    """What a directory held when it was read."""

    key_pairs: Mapping[SpiffeId, KeyPair] = field(default_factory=dict)
    bundles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """PEM of the roots by trust domain, one text per file."""
    problems: tuple[Problem, ...] = ()


def load_directory(directory: Path, now_unix_s: float, limits: Limits = DEFAULT_LIMITS) -> IdentityDirectory:
    """Read an identity directory; blocking.

    Args:
        directory: see `weft_contract.identity_layout`.
        now_unix_s: wall clock, seconds.
        limits: `chain_length` and `clock_skew_s`.

    Returns:
        What can be used, and every problem; never raises for what is in the directory.
    """
    problems: list[Problem] = []
    key_pairs: dict[SpiffeId, KeyPair] = {}
    bundles: dict[str, tuple[str, ...]] = {}
    for path in _files(directory, problems):
        try:
            pair = _load_key_pair(path, now_unix_s, limits)
        except _UnusableError as exc:
            problems.append(exc.problem(path))
        else:
            key_pairs[pair.identity] = pair
    roots = directory / ROOTS_DIRECTORY
    for path in _files(roots, problems) if roots.exists() else ():  # roots may come with the configuration instead
        try:
            bundles[trust_domain_of_file_name(path.name)] = (_read(path).decode("utf-8", "replace"),)
        except IdentityGrammarError as exc:
            problems.append(_UnusableError(str(exc), "name it <trust domain>.pem").problem(path))
        except _UnusableError as exc:
            problems.append(exc.problem(path))
    return IdentityDirectory(key_pairs, bundles, tuple(problems))


class _UnusableError(Exception):
    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def problem(self, path: Path) -> Problem:
        return Problem(path="$", message=self.message, remedy=self.remedy, source=str(path))


def _files(directory: Path, problems: list[Problem]) -> Iterator[Path]:
    """Yield the files that a reader should look at, in order of name."""
    try:
        entries = sorted(directory.iterdir())
    except OSError as exc:
        message = f"cannot read the directory: {exc.strerror}"
        remedy = "create it and issue certificates into it: `weft ca issue`"
        problems.append(Problem(path="$", message=message, remedy=remedy, source=str(directory)))
        return
    for path in entries:
        if path.name.startswith(".") or path.is_dir():
            continue
        if path.suffix == SUFFIX:
            yield path
        else:
            message = f"passed over, its name does not end in {SUFFIX}"
            problems.append(Problem(path="$", message=message, source=str(path), warning=True))


def _load_key_pair(path: Path, now_unix_s: float, limits: Limits) -> KeyPair:
    try:
        key, chain = _split(read_pem(_read(path, secret=True)), limits)
        own = verify_own([block.der for block in chain], now_unix_s, limits)
    except PemError as exc:
        raise _UnusableError(str(exc), _REISSUE) from exc
    except CertificateExpiredError as exc:
        raise _UnusableError(str(exc), "renew it: `weft ca issue`, and see why nobody did") from exc
    except IdentityError as exc:
        raise _UnusableError(str(exc), _REISSUE) from exc
    expected = key_pair_file_name(own.identity)
    if path.name != expected:
        raise _UnusableError(f"holds the certificate of {own.identity}", f"its name must be {expected}")
    chain_pem = b"".join(write_pem(CERTIFICATE, block.der) for block in chain)
    pem = write_pem(key.label, key.der) + chain_pem
    _check_belongs(pem)
    digest = hashlib.sha256(pem).hexdigest()
    begins = float(read_certificate(chain[0].der).not_before_unix_s)
    return KeyPair(own.identity, chain_pem, begins, float(own.not_after_unix_s), digest, pem)


def _split(blocks: tuple[PemBlock, ...], limits: Limits) -> tuple[PemBlock, tuple[PemBlock, ...]]:
    keys = [block for block in blocks if block.label in PRIVATE_KEYS]
    chain = tuple(block for block in blocks if block.label == CERTIFICATE)
    if any(block.label == ENCRYPTED_PRIVATE_KEY for block in blocks):
        raise _UnusableError(
            "the private key is encrypted, and nobody is there to ask", "store it unencrypted, on a tmpfs"
        )
    if len(keys) != 1 or len(keys) + len(chain) != len(blocks):
        found = ", ".join(block.label for block in blocks) or "nothing"
        raise _UnusableError(f"needs one private key and certificates, found: {found}", _REISSUE)
    if not 1 <= len(chain) <= limits.chain_length:
        raise _UnusableError(f"{len(chain)} certificates, there must be 1 to {limits.chain_length}", _REISSUE)
    return keys[0], chain


def _check_belongs(pem: bytes) -> None:
    """Let OpenSSL say whether the key is the certificate's."""
    fd = sealed("weft-key-check", pem)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(f"{FD_DIRECTORY}/{fd}", password=b"")
    except (ssl.SSLError, OSError) as exc:
        raise _UnusableError(f"the private key does not belong to the certificate: {exc}", _REISSUE) from exc
    finally:
        os.close(fd)


def _read(path: Path, *, secret: bool = False) -> bytes:
    """Read a small regular file; links are followed, since mounted Secrets are links."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as exc:
        raise _UnusableError(f"cannot be read: {exc.strerror}", "give the agent's user access") from exc
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
            raise _UnusableError(f"is no regular file of at most {MAX_FILE_BYTES} bytes", "remove it")
        if secret and status.st_mode & _PRIVATE:
            mode = stat.S_IMODE(status.st_mode)
            raise _UnusableError(f"others may read the private key (mode {mode:04o})", f"chmod {KEY_PAIR_MODE:04o}")
        if secret and status.st_uid not in {0, os.geteuid()}:
            raise _UnusableError(f"belongs to user {status.st_uid}", "chown it to the agent's user")
        return file.read(MAX_FILE_BYTES)
