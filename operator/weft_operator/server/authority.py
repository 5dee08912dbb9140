"""What the servers ask of the certificate authority: the seam to whoever keeps its keys."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from weft_operator.ca import Authority, ServerCertificate
from weft_operator.ca.authority import PublicKey


class CertificateAuthority(Protocol):
    """The mesh's authority, once its keys are known."""

    @property
    def authority(self) -> Authority | None:
        """What signs for workloads; None: nothing can be signed now."""

    @property
    def bundles(self) -> Mapping[str, tuple[str, ...]]:
        """PEM roots by trust domain."""

    @property
    def roots(self) -> Sequence[str]:
        """PEM roots that verify what it issues."""

    @property
    def ends(self) -> Iterable[tuple[str, float]]:
        """Name and end (seconds since 1970) of its certificates."""

    def issue_server(self, key: PublicKey, names: Sequence[str], now_unix_s: float) -> ServerCertificate:
        """Issue a certificate for our servers.

        Raises:
            CaError: it cannot.
        """
