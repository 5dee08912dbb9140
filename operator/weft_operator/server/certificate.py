"""The certificate of our own servers: issued by the mesh's own authority, renewed in place, never served when it has ended.

Theory: each replica makes its own key, which never leaves memory, and has its authority sign it for the names of the
Service. One TLS context serves for ever; a renewed pair is put into it, and connections made from then on get it. Renewal is
at half of the life, with jitter so that replicas do not renew together, and at once when the roots change.
"""

import asyncio
import random
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from weft_operator.access.pem_pair import load_pair
from weft_operator.ca import CaError, ServerCertificate
from weft_operator.ca.authority import PublicKey

Issue = Callable[[PublicKey, Sequence[str], float], ServerCertificate]
"""Signs a key for names, at a time (seconds since 1970)."""

RENEW_AT: Final = 0.5
"""Share of the life after which it is renewed."""
JITTER: Final = 0.1
RETRY_S: Final = 30.0
_log: Final = structlog.get_logger("weft_operator.server")


class ServerTls:
    """What our servers present.

    Args:
        issue: the authority.
        names: DNS names of the servers.
        wall: seconds since 1970.
        rng: for jitter.
    """

    def __init__(
        self,
        issue: Issue,
        names: Sequence[str],
        *,
        wall: Callable[[], float] = time.time,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._issue, self._names, self._wall, self._rng = issue, tuple(names), wall, rng
        self._woken = asyncio.Event()
        self._begun = self.not_after_unix_s = 0.0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.context.num_tickets = 0  # a resumed session would outlive the roots that it was verified by

    def renew(self) -> None:
        """Present a new certificate from now on.

        Raises:
            CaError: the authority cannot issue; the old one stays.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        now = self._wall()
        issued = self._issue(key.public_key(), self._names, now)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        load_pair(self.context, issued.chain_pem.decode(), pem.decode())
        self._begun, self.not_after_unix_s = now, issued.not_after_unix_s
        _log.info("server certificate renewed", names=list(self._names), not_after_unix_s=issued.not_after_unix_s)

    def wake(self) -> None:
        """Renew soon: roots or intermediate changed."""
        self._woken.set()

    async def run(self) -> None:
        """Keep it fresh until cancelled; `renew` has been called before."""
        wait_s = self._due_s()
        while True:
            try:
                async with asyncio.timeout(max(0.0, wait_s)):
                    await self._woken.wait()
            except TimeoutError:
                pass
            self._woken.clear()
            try:
                self.renew()
            except CaError as exc:
                left_s = self.not_after_unix_s - self._wall()
                _log.error("server certificate could not be renewed", why=str(exc), left_s=round(left_s))
                wait_s = RETRY_S
            else:
                wait_s = self._due_s()

    def _due_s(self) -> float:
        life_s = self.not_after_unix_s - self._begun
        at = self._begun + life_s * (RENEW_AT + JITTER * (self._rng() - 0.5))
        return at - self._wall()
