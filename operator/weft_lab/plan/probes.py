"""When a probe is due and what its answers mean, as the kubelet counts them. Pure: `now` is monotonic seconds.

One deviation: until the first period of a fresh container is over, a startup or readiness probe that fails is tried again
after 0.1 s, 0.2 s, 0.4 s … and not counted. A kubelet would let the default period of 10 s pass; a lab is watched by
somebody who waits.
"""

from dataclasses import dataclass, field
from typing import Final, Literal

from weft_lab.model import Probe

ProbeKind = Literal["startup", "liveness", "readiness"]
KINDS: Final[tuple[ProbeKind, ...]] = ("startup", "liveness", "readiness")

_FIRST_RETRY_S: Final = 0.1


@dataclass(slots=True)
class ProbeState:
    """One probe of one run of a container."""

    kind: ProbeKind
    probe: Probe
    enabled_at: float
    """When the container started; for liveness and readiness, when startup was over."""
    due_at: float = 0.0
    running: bool = False
    healthy: bool | None = None
    """Verdict so far: None before any threshold was reached."""
    _successes: int = 0
    _failures: int = 0
    _early_delay_s: float = field(default=_FIRST_RETRY_S)

    def __post_init__(self) -> None:
        self.due_at = self.enabled_at + self.probe.initial_delay_seconds

    def begin(self) -> None:
        """Note that the probe has been sent; nothing is due until it answered."""
        self.running = True

    def answered(self, ok: bool, now: float) -> None:
        """Count an answer and set the next date."""
        self.running = False
        if not ok and self._early(now):
            self.due_at = now + self._early_delay_s
            self._early_delay_s *= 2
            return
        self.due_at = max(now, self.due_at + self.probe.period_seconds)
        self._successes = self._successes + 1 if ok else 0
        self._failures = 0 if ok else self._failures + 1
        if self._successes >= self.probe.success_threshold:
            self.healthy = True
        elif self._failures >= self.probe.failure_threshold:
            self.healthy = False

    def _early(self, now: float) -> bool:
        fresh = now < self.enabled_at + self.probe.initial_delay_seconds + self.probe.period_seconds
        return self.kind != "liveness" and self.healthy is None and self._successes == 0 and fresh
