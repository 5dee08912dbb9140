"""Roots of trust by trust domain: read from PEM, checked, and told apart so that no domain can disturb another.

Theory: a server learns its peer's domain only from the certificate, so its TLS context holds the roots of all domains, and
the chain that OpenSSL built is judged afterwards by the bundle of the domain that the leaf claims
(`weft_core.identity.verify`). That makes a root of domain A useless for names in B. It must not be able to *hide* B's root
either: OpenSSL finds an issuer by name and key identifier and does not try a second one. So a foreign root with the key
identifier of one that is already there is left out, and said so; the agent's own domain is read first.

Nothing here is weaker for being wrong: a bundle without one usable root keeps what its domain had before.

Source: OpenSSL 3.0 `x509_vfy.c` (`build_chain`, `X509_check_issued`); reliability §2.5 "trust-domain isolation".
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from weft_contract.problems import Problem
from weft_core.errors import UntrustedPeerError
from weft_core.identity import PemError, check_root, read_certificates

MAX_ROOTS_PER_DOMAIN: Final = 100
"""A rotation needs two; the bound keeps one bundle from filling every context."""


@dataclass(frozen=True, slots=True)
class Anchors:
    """Usable roots; immutable."""

    by_domain: Mapping[str, frozenset[bytes]] = field(default_factory=lambda: MappingProxyType({}))
    """DER of the roots of each trust domain; a domain that is here has at least one."""

    @property
    def digest(self) -> str:
        """Content hash: equal exactly when the roots are."""
        total = hashlib.sha256()
        for domain in sorted(self.by_domain):
            total.update(f"{domain}\n".encode())
            for root in sorted(self.by_domain[domain]):
                total.update(hashlib.sha256(root).digest())
        return total.hexdigest()

    def of(self, trust_domain: str) -> "Anchors":
        """Return the roots of one domain alone (none, if it is not known)."""
        roots = self.by_domain.get(trust_domain)
        return Anchors(MappingProxyType({} if roots is None else {trust_domain: roots}))

    def concatenated(self) -> bytes:
        """Return all roots as one run of DER, as OpenSSL loads them."""
        return b"".join(sorted({root for roots in self.by_domain.values() for root in roots}))


def read_anchors(
    bundles: Mapping[str, Iterable[str]], own_domain: str, previous: Anchors | None = None
) -> tuple[Anchors, tuple[Problem, ...]]:
    """Read bundles.

    Args:
        bundles: PEM certificates by trust domain, each text one or more of them.
        own_domain: read first: its roots win where key identifiers collide.
        previous: what a domain falls back to when nothing in its bundle can be used.

    Returns:
        The roots, and everything that was left out and why.
    """
    problems: list[Problem] = []
    taken: dict[bytes, _Root] = {}
    found: dict[str, frozenset[bytes]] = {}
    for domain in sorted(bundles, key=lambda name: (name != own_domain, name)):
        roots = frozenset(root.der for root in _read_domain(domain, bundles[domain], taken, problems))
        if not roots:
            problems.append(_nothing_usable(domain, previous))
            roots = previous.by_domain.get(domain, frozenset()) if previous else frozenset()
        if roots:
            found[domain] = roots
    return Anchors(MappingProxyType(found)), tuple(problems)


@dataclass(frozen=True, slots=True)
class _Root:
    domain: str
    der: bytes
    not_after_unix_s: int


def _read_domain(
    domain: str, texts: Iterable[str], taken: dict[bytes, _Root], problems: list[Problem]
) -> Iterable[_Root]:
    """Read one domain; `taken` are the roots of those before it by key identifier, and is added to."""
    by_key: dict[bytes, _Root] = {}
    for index, text in enumerate(texts):
        for der in _read_text(domain, index, text, problems):
            try:
                facts = check_root(der)
            except UntrustedPeerError as exc:
                problems.append(_problem(domain, index, str(exc), "give the self-signed certificate of the root"))
                continue
            other = taken.get(facts.subject_key_id)
            if other is not None and other.der != der:
                message = f"a root has the key identifier of a root of trust domain {other.domain!r}, and is left out"
                problems.append(_problem(domain, index, message, "make a new root with a key of its own"))
                continue
            known = by_key.get(facts.subject_key_id)
            # the same key certified again: OpenSSL would take either, so only the one that lives longer stays
            if known is None or known.not_after_unix_s < facts.not_after_unix_s:
                by_key[facts.subject_key_id] = _Root(domain, der, facts.not_after_unix_s)
    taken.update(by_key)
    return by_key.values()


def _read_text(domain: str, index: int, text: str, problems: list[Problem]) -> tuple[bytes, ...]:
    try:
        return read_certificates(text.encode("utf-8", "replace"), at_most=MAX_ROOTS_PER_DOMAIN)
    except PemError as exc:
        problems.append(_problem(domain, index, str(exc), "give PEM certificates"))
        return ()


def _nothing_usable(domain: str, previous: Anchors | None) -> Problem:
    kept = previous is not None and domain in previous.by_domain
    outcome = "the roots it had before stay in force" if kept else "no peer of this domain can be verified"
    return _problem(domain, None, f"not one usable root: {outcome}", "give at least one valid root")


def _problem(domain: str, index: int | None, message: str, remedy: str) -> Problem:
    path = "$.roots" if index is None else f"$.roots[{index}]"
    return Problem(path=path, message=message, remedy=remedy, source=f"TrustBundle/{domain}")
