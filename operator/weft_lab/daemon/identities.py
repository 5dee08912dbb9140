"""Certificates for the service accounts that run on each node, from a development authority of the lab's own.

Theory: a lab's authority lives as long as the lab, in its memory file system. There is one for each trust domain that the
Mesh object ever named, and every node is given the roots of all of them. All methods block and are called by one thread
at a time (the publisher's).
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from weft_contract.codec import digest
from weft_contract.identity import SpiffeId
from weft_contract.identity_layout import key_pair_file_name
from weft_contract.limits import DEFAULT_LIMITS
from weft_lab.daemon.lab import Lab
from weft_operator.ca import development

RENEW_SHARE: Final = 0.5
"""A certificate is replaced when this share of its life is over, as in a cluster."""


@dataclass(slots=True)
class IdentityKeeper:
    """Authorities and issued certificates of one lab."""

    lab: Lab
    ttl_s: float = DEFAULT_LIMITS.certificate_ttl_s
    _domains: dict[str, Path] = field(default_factory=dict)
    _bundled: set[tuple[str, str]] = field(default_factory=set)
    _issued: dict[tuple[str, SpiffeId], float] = field(default_factory=dict)
    """When each certificate has to be replaced (wall clock, seconds)."""

    def bundles(self, trust_domain: str) -> dict[str, tuple[str, ...]]:
        """Return the roots by trust domain; the authority is made when its domain is first named.

        Raises:
            CaError: an authority's files cannot be written or read.
        """
        if trust_domain not in self._domains:
            # a trust domain may be longer than a file name may be, and may be a dot
            directory = self.lab.directory / "ca" / digest(trust_domain.encode())
            development.init(directory, now_unix_s=time.time(), trust_domain=trust_domain)
            self._domains[trust_domain] = directory
        return {domain: development.bundle(directory) for domain, directory in self._domains.items()}

    def keep(self, node: str, identities: Iterable[SpiffeId]) -> None:
        """Give a node the certificates of exactly these identities, fresh enough.

        Raises:
            CaError: a certificate cannot be issued.
        """
        wanted = set(identities)
        out = self.lab.node_directory(node) / "identity"
        now = time.time()
        for domain, directory in self._domains.items():
            if (node, domain) not in self._bundled:  # agents read the directory again at every change
                development.write_bundle(directory, out)
                self._bundled.add((node, domain))
        for known_node, identity in [key for key in self._issued if key[0] == node and key[1] not in wanted]:
            del self._issued[known_node, identity]
            (out / key_pair_file_name(identity)).unlink(missing_ok=True)
        for identity in sorted(wanted, key=str):
            if self._issued.get((node, identity), 0.0) <= now:
                self._issue(node, identity, out, now)

    def renew_at_unix_s(self) -> float | None:
        """Return when the next certificate has to be replaced, or None."""
        return min(self._issued.values(), default=None)

    def _issue(self, node: str, identity: SpiffeId, out: Path, now: float) -> None:
        directory = self._domains[identity.trust_domain]
        issued = development.issue(
            directory, identity.namespace, identity.service_account, out, now_unix_s=now, ttl_s=self.ttl_s
        )
        self._issued[node, identity] = now + (issued.not_after_unix_s - now) * RENEW_SHARE
