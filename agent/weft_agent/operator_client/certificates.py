"""Certificates for this node's workloads: one per service account, asked for in time, kept while valid, dropped when unused.

Theory: one task per identity sleeps until its certificate is due (half of its life, give or take a tenth, drawn once per
certificate so that nodes do not come together), asks, judges the answer and stores it. Whatever fails leaves the former
certificate where it is and is tried again, ever more slowly, or at once when an operator comes back. A certificate that no
root of the node vouches for any more is due at once. An identity whose last pod left is kept for a while, since its next pod
is likely to come soon, and removed then.

Storing is all that is done with a certificate here: `weft_agent.control.identities` sees the file and hands it to the workers.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Final

import msgspec
import trio

from weft_agent.operator_client.backoff import Backoff
from weft_agent.operator_client.errors import OperatorError, ProtocolError, RefusedError
from weft_agent.operator_client.key_directory import KeyDirectory, Stored
from weft_agent.operator_client.signing_request import (
    AnswerError,
    KeyWithRequest,
    judge_answer,
    leads_to,
    new_key_with_request,
)
from weft_agent.telemetry.log import Log
from weft_agent.telemetry.metrics import Metrics
from weft_contract.identity import SpiffeId, parse_spiffe_id
from weft_contract.limits import Limits
from weft_contract.resources import TrustBundle
from weft_contract.stream import CertificateAnswer, CertificateRequest

Ask = Callable[[CertificateRequest], Awaitable[bytes]]
"""Sends a request and returns the body of the answer; raises `OperatorError`."""

RENEW_AT: Final = 0.5
"""Of a certificate's life."""
RENEW_JITTER: Final = 0.1
LONGEST_SLEEP_S: Final = 60.0
"""The wall clock may be set while we sleep."""
SWEEP_S: Final = 30.0
HURRY_SPREAD_S: Final = 1.0
"""All nodes notice a returning operator at once."""


@dataclass(slots=True)
class _Identity:
    """What is known of one identity that pods of this node have."""

    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    news: trio.Event = field(default_factory=trio.Event)
    """Look again: the roots changed, or the operator is back."""
    error: str = ""


@dataclass(frozen=True, slots=True)
class _Held:
    """A certificate in the directory, and when the next one is due."""

    stored: Stored
    due_unix_s: float
    vouched_for: bool
    """Whether its signatures lead to a root that the node holds now."""


class Certificates:
    """The certificates of one node.

    Args:
        directory: where they are kept.
        limits: retries, how many at once, how long unused ones stay.
        ask: the way to the operator.
        log: told of every certificate and every failure.
        metrics: count them.
        rng: chance.
        clock: wall clock, unix seconds.
    """

    def __init__(
        self,
        directory: Path,
        limits: Limits,
        ask: Ask,
        log: Log,
        metrics: Metrics,
        rng: Random,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory = KeyDirectory(directory)
        self._limits = limits
        self._ask = ask
        self._log = log
        self._metrics = metrics
        self._rng = rng
        self._clock = clock
        self._asking = trio.CapacityLimiter(limits.certificate_requests)
        self._nursery: trio.Nursery | None = None
        self._wanted: dict[SpiffeId, _Identity] = {}
        self._held: dict[SpiffeId, _Held] = {}
        self._unused_since: dict[SpiffeId, float] = {}
        self._roots: Mapping[str, tuple[str, ...]] = {}
        self._directory_problem = ""
        self.stored: Callable[[], None] = lambda: None
        """Told of each change of the directory."""

    # -- what others say and ask ----------------------------------------------------------------------------------

    def want(self, identities: Iterable[str], bundles: Iterable[TrustBundle]) -> None:
        """Keep certificates for exactly these identities, vouched for by these roots."""
        roots = {bundle.trust_domain: bundle.roots for bundle in bundles}
        wanted = {parse_spiffe_id(identity) for identity in identities}
        if roots != self._roots:
            self._roots = roots
            for identity, held in self._held.items():
                self._held[identity] = replace(held, vouched_for=self._vouched_for(identity, held.stored))
            self._look_again()
        for identity in self._wanted.keys() - wanted:
            self._wanted.pop(identity).scope.cancel()
            self._unused_since[identity] = self._clock()
        for identity in wanted - self._wanted.keys():
            self._unused_since.pop(identity, None)
            self._wanted[identity] = state = _Identity()
            if self._nursery is not None:
                self._nursery.start_soon(self._keep, identity, state)

    def hurry(self) -> None:
        """Try again what failed: the operator is there."""
        self._look_again()

    def warnings(self) -> list[str]:
        """Say what cannot be had, and why."""
        failed = sorted((str(identity), state.error) for identity, state in self._wanted.items() if state.error)
        lines = [f"no new certificate for {identity}: {error}" for identity, error in failed]
        return lines + ([self._directory_problem] if self._directory_problem else [])

    def _look_again(self) -> None:
        for state in self._wanted.values():
            state.news.set()

    # -- life -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep certificates until cancelled."""
        self._directory_problem = await trio.to_thread.run_sync(self._directory.prepare)
        if self._directory_problem:
            self._log.error("key-directory", error=self._directory_problem)
        found = await trio.to_thread.run_sync(self._directory.read, self._clock(), self._limits)
        for identity, stored in found.items():
            self._hold(identity, stored)
            if identity not in self._wanted:
                self._unused_since[identity] = self._clock()
        async with trio.open_nursery() as nursery:
            for identity, state in self._wanted.items():
                nursery.start_soon(self._keep, identity, state)
            self._nursery = nursery
            try:
                await self._drop_unused()
            finally:
                self._nursery = None  # before the nursery closes: `want` may be called until the very end

    async def _keep(self, identity: SpiffeId, state: _Identity) -> None:
        backoff = Backoff(self._rng, self._limits.certificate_retry_first_s, self._limits.certificate_retry_max_s)
        with state.scope:
            while True:
                await self._until_due(identity, state)
                try:
                    async with self._asking:
                        await self._renew(identity)
                except (OperatorError, AnswerError, OSError) as exc:
                    await self._pause(identity, state, exc, backoff)
                else:
                    state.error = ""
                    backoff.reset()

    async def _until_due(self, identity: SpiffeId, state: _Identity) -> None:
        while True:
            left_s = self._due_unix_s(identity) - self._clock()
            if left_s <= 0:
                return
            state.news = trio.Event()
            with trio.move_on_after(min(left_s, LONGEST_SLEEP_S)):
                await state.news.wait()

    def _due_unix_s(self, identity: SpiffeId) -> float:
        held = self._held.get(identity)
        return held.due_unix_s if held is not None and held.vouched_for else 0.0

    def _vouched_for(self, identity: SpiffeId, stored: Stored) -> bool:
        roots = self._roots.get(identity.trust_domain)
        return not roots or leads_to(stored.chain, roots)  # without roots nothing can be said, nor anything asked for

    async def _pause(self, identity: SpiffeId, state: _Identity, error: Exception, backoff: Backoff) -> None:
        wait_s = backoff.next_s(getattr(error, "retry_after_s", 0.0))
        outcome = "refused" if isinstance(error, RefusedError) else "failed"
        self._metrics.add("weft_certificate_requests_total", outcome=outcome)
        write = self._log.info if state.error == str(error) else self._log.warning
        state.error = str(error)
        held = self._held.get(identity)
        left_s = 0.0 if held is None else max(0.0, held.stored.not_after_unix_s - self._clock())
        write(
            "certificate-not-issued",
            identity=str(identity),
            error=state.error,
            retry_s=round(wait_s, 1),
            left_s=round(left_s),
        )
        state.news = trio.Event()
        with trio.move_on_after(wait_s) as scope:
            await state.news.wait()
        if not scope.cancelled_caught:
            await trio.sleep(self._rng.uniform(0.0, HURRY_SPREAD_S))

    # -- one certificate ------------------------------------------------------------------------------------------

    async def _renew(self, identity: SpiffeId) -> None:
        if not self._roots.get(identity.trust_domain):
            raise AnswerError(f"the configuration has no roots of trust domain {identity.trust_domain} (yet)")
        made = await trio.to_thread.run_sync(new_key_with_request, identity)
        body = await self._ask(made.request)
        try:
            answer = msgspec.json.decode(body, type=CertificateAnswer)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise ProtocolError(f"the operator's answer cannot be read: {exc}") from exc
        stored = await trio.to_thread.run_sync(self._store, answer, made, identity, self._clock())
        self._hold(identity, stored)
        self._metrics.add("weft_certificate_requests_total", outcome="issued")
        self._log.info("certificate-issued", identity=str(identity), not_after_unix_s=stored.not_after_unix_s)
        self.stored()

    def _store(self, answer: CertificateAnswer, made: KeyWithRequest, identity: SpiffeId, now_unix_s: float) -> Stored:
        roots = self._roots.get(identity.trust_domain, ())
        chain_pem, stored = judge_answer(answer, made, identity, roots, now_unix_s, self._limits)
        self._directory.write(identity, made.key_pem, chain_pem)
        return stored

    def _hold(self, identity: SpiffeId, stored: Stored) -> None:
        life_s = stored.not_after_unix_s - stored.not_before_unix_s
        share = RENEW_AT * self._rng.uniform(1.0 - RENEW_JITTER, 1.0 + RENEW_JITTER)
        due_unix_s = stored.not_before_unix_s + life_s * share
        self._held[identity] = _Held(stored, due_unix_s, self._vouched_for(identity, stored))

    async def _drop_unused(self) -> None:
        while True:
            await trio.sleep(SWEEP_S)
            oldest = self._clock() - self._limits.certificate_linger_s
            for identity in [key for key, since in self._unused_since.items() if since <= oldest]:
                await trio.to_thread.run_sync(self._directory.remove, identity)
                del self._unused_since[identity]
                self._held.pop(identity, None)
                self._log.info("certificate-dropped", identity=str(identity), reason="no pod of this node has it")
                self.stored()
