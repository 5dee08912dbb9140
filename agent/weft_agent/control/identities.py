"""Certificates of this node's workloads: read from the identity directory, handed to workers, watched until they expire.

Theory: only identities that a pod of this node has are handed out, so a worker never holds a key it has no use for. A file
that cannot be used costs its own identity and leaves the last good certificate in place. Alarms come when two fifths, a
quarter and a tenth of a certificate's life is left, once each: renewal happens at half life, give or take a tenth of it, so
even the first means that somebody did not renew.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

from weft_agent.control.desired import Certificate
from weft_agent.control.fleet import Fleet
from weft_agent.control.watch import Watch
from weft_agent.telemetry.log import Log
from weft_agent.telemetry.metrics import Metrics
from weft_agent.tls.identity_files import IdentityDirectory, KeyPair, load_directory

POLL_S: Final = 5.0
ALARM_SHARES: Final = (0.4, 0.25, 0.1)


class Identities:
    """Follows the identity directory.

    Args:
        directory: see `weft_contract.identity_layout`.
        fleet: told of certificates.
        log: told of every change, problem and alarm.
        metrics: state the expiry.
        clock: wall clock, unix seconds.
    """

    def __init__(
        self,
        directory: Path,
        fleet: Fleet,
        log: Log,
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._fleet = fleet
        self._log = log
        self._metrics = metrics
        self._clock = clock
        self._watch = Watch([directory], POLL_S)
        self._local: frozenset[str] = frozenset()
        self._problems: tuple[str, ...] = ()
        self._alarmed: dict[str, int] = {}
        """Alarms given so far, by digest."""

    def want(self, identities: frozenset[str]) -> None:
        """Hand out exactly these identities' certificates."""
        if identities != self._local:
            self._local = identities
            self._watch.ask()

    def warnings(self) -> list[str]:
        """Say what is wrong with certificates that this node needs."""
        missing = sorted(self._local - self._fleet.desired.certificates.keys())
        lines = [f"no certificate for {identity}" for identity in missing]
        now = self._clock()
        for identity, certificate in sorted(self._fleet.desired.certificates.items()):
            if certificate.not_after_unix_s <= now:
                lines.append(f"certificate of {identity} has expired")
        return lines + list(self._problems)

    def reload(self) -> None:
        """Look at the directory now."""
        self._watch.ask()

    async def run(self) -> None:
        """Follow the directory until cancelled."""
        try:
            while True:
                read = await trio.to_thread.run_sync(load_directory, self._directory, self._clock())
                self._take(read)
                self._alarm()
                await self._watch.changed()
        finally:
            self._watch.close()

    def _take(self, read: IdentityDirectory) -> None:
        self._tell_problems(read)
        present = self._fleet.desired.certificates
        replaced: list[int] = []
        changed = False
        for spiffe_id, pair in read.key_pairs.items():
            identity = str(spiffe_id)
            known = present.get(identity)
            if identity in self._local and (known is None or known.digest != pair.digest):
                changed = True
                present[identity] = _certificate(identity, pair)
                replaced += [known.key_fd] if known is not None else []
                self._log.info("certificate", identity=identity, not_after_unix_s=pair.not_after_unix_s)
        for identity in present.keys() - self._local:
            changed = True
            replaced.append(present.pop(identity).key_fd)
        if changed:
            self._fleet.changed()
            self._metrics.replace(
                "weft_certificate_not_after_seconds",
                {(identity,): certificate.not_after_unix_s for identity, certificate in present.items()},
            )
        for fd in replaced:
            os.close(fd)

    def _tell_problems(self, read: IdentityDirectory) -> None:
        problems = tuple(str(problem) for problem in read.problems)
        if problems != self._problems:
            self._problems = problems
            if problems:
                self._log.warning("identity-problems", problems=list(problems))

    def _alarm(self) -> None:
        now = self._clock()
        for identity, certificate in self._fleet.desired.certificates.items():
            left_s = certificate.not_after_unix_s - now
            life_s = certificate.not_after_unix_s - certificate.not_before_unix_s
            reached = sum(left_s <= share * life_s for share in ALARM_SHARES) + (left_s <= 0)
            if reached > self._alarmed.get(certificate.digest, 0):
                self._alarmed[certificate.digest] = reached
                event = "certificate-expired" if left_s <= 0 else "certificate-expires"
                write = self._log.error if reached >= len(ALARM_SHARES) else self._log.warning
                write(event, identity=identity, left_s=round(left_s))
        digests = {certificate.digest for certificate in self._fleet.desired.certificates.values()}
        self._alarmed = {digest: count for digest, count in self._alarmed.items() if digest in digests}


def _certificate(identity: str, pair: KeyPair) -> Certificate:
    return Certificate(
        identity, pair.chain_pem, pair.not_before_unix_s, pair.not_after_unix_s, pair.digest, pair.seal()
    )
