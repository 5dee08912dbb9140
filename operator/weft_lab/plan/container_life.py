"""The life of one container: waiting, running, ended, and when it is to be started again. Pure: `now` is monotonic seconds."""

from dataclasses import dataclass, field
from typing import Final, Literal

from weft_lab.model import Container
from weft_lab.plan.probes import KINDS, ProbeKind, ProbeState

State = Literal["waiting", "starting", "running", "ended"]

FIRST_BACKOFF_S: Final = 1.0
MAX_BACKOFF_S: Final = 60.0
"""A kubelet waits 10 s to 300 s; a lab is watched by somebody who waits."""
_HEALTHY_RUN_S: Final = 60.0
"""A run of this length forgets earlier crashes (kubelet: 600 s)."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended."""

    exit_code: int
    """128 + signal number for a container that a signal ended."""
    signal: int
    reason: str
    message: str
    at: float


@dataclass(slots=True)
class ContainerLife:
    """One container over all its runs."""

    spec: Container
    state: State = "waiting"
    attempt: int = 0
    """Number of the present or last run; 0 before the first."""
    restarts: int = 0
    reason: str = "PodInitializing"
    """Why it waits."""
    message: str = ""
    start_at: float = 0.0
    """Not started before this moment."""
    started_at: float = 0.0
    last: Ended | None = None
    """How the latest run that is over ended."""
    passed_startup: bool = False
    probes: dict[ProbeKind, ProbeState] = field(default_factory=dict)
    kill_at: float | None = None
    """Set once it was told to end: when it will be killed."""
    hooked: bool = False
    """Whether its preStop hook was begun, for this end."""
    ask_at: float | None = None
    """When it is to be told to end: at once, or when its hook is over; None while that is not known."""
    asked: bool = False
    killed: bool = False
    ever_up: bool = False
    """Whether it ever got through its startup (what comes after a sidecar waits for this, once)."""
    _crashes: int = 0

    @property
    def up(self) -> bool:
        """Whether there is or may be a process."""
        return self.state in {"starting", "running"}

    @property
    def ready(self) -> bool:
        """Whether it counts as ready."""
        if self.state != "running" or not self.passed_startup or self.kill_at is not None:
            return False
        readiness = self.probes.get("readiness")
        return readiness is None or readiness.healthy is True

    def begin(self) -> None:
        """Note that it is being started."""
        self.state = "starting"
        self.attempt += 1
        self.reason, self.message = "ContainerCreating", ""
        self.kill_at, self.ask_at, self.hooked, self.asked, self.killed = None, None, False, False, False
        self.passed_startup = False
        self.probes = {}

    def running(self, now: float) -> None:
        """Note that its program runs."""
        self.state = "running"
        self.started_at = now
        if self.spec.startup_probe is not None:
            self._enable("startup", now)
        else:
            self._startup_over(now)

    def ended(self, end: Ended, restart: bool) -> None:
        """Note that its run is over.

        Args:
            end: how.
            restart: whether it is to run again.
        """
        ran_s = end.at - self.started_at if self.state == "running" else 0.0
        self.last = end
        self.probes, self.passed_startup, self.kill_at = {}, False, None
        if not restart:
            self.state = "ended"
            return
        self._crashes = 0 if ran_s >= _HEALTHY_RUN_S else self._crashes + 1
        delay_s = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2 ** (self._crashes - 2)) if self._crashes > 1 else 0.0
        self.state = "waiting"
        self.restarts += 1
        self.start_at = end.at + delay_s
        self.reason = "CrashLoopBackOff" if delay_s else "ContainerCreating"
        self.message = f"back-off {delay_s:g}s restarting failed container {self.spec.name}" if delay_s else ""

    def answered(self, kind: ProbeKind, ok: bool, now: float) -> bool:
        """Count a probe's answer.

        Returns:
            True if the container must be ended because of it.
        """
        state = self.probes.get(kind)
        if state is None or self.state != "running":
            return False
        state.answered(ok, now)
        if kind == "startup" and state.healthy:
            del self.probes["startup"]
            self._startup_over(now)
        return kind != "readiness" and state.healthy is False

    def _startup_over(self, now: float) -> None:
        self.passed_startup = self.ever_up = True
        for kind in KINDS[1:]:
            self._enable(kind, now)

    def _enable(self, kind: ProbeKind, now: float) -> None:
        named = {
            "startup": self.spec.startup_probe,
            "liveness": self.spec.liveness_probe,
            "readiness": self.spec.readiness_probe,
        }
        probe = named[kind]
        if probe is not None:
            # initialDelaySeconds counts from the start of the container, whatever startup took
            state = ProbeState(kind, probe, self.started_at)
            state.due_at = max(state.due_at, now)
            self.probes[kind] = state
