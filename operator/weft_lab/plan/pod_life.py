"""The life of a pod: init containers in order, then all containers, restarts, probes, and its end. Pure.

Theory: the shell tells what happened (`started`, `exited`, `answered`, `delete`), then asks `advance(now)` for what is to
be done, and `wake_at` for when to ask again without news. Every order carries the number of the run it is meant for, so
that late news of an earlier run is recognised and dropped. `now` is monotonic seconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from weft_lab.model import PodSpec
from weft_lab.model.pod import Phase
from weft_lab.plan.container_life import ContainerLife, Ended
from weft_lab.plan.probes import ProbeKind


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Start this container."""

    name: str
    attempt: int


@dataclass(frozen=True, slots=True)
class SignalContainer:
    """Send its first process this signal."""

    name: str
    attempt: int
    signal: Literal["TERM", "KILL"]


@dataclass(frozen=True, slots=True)
class RunProbe:
    """Send this probe once and say what it answered."""

    name: str
    attempt: int
    kind: ProbeKind


@dataclass(frozen=True, slots=True)
class RunHook:
    """Run its preStop command and say when it is over."""

    name: str
    attempt: int


Order: TypeAlias = StartContainer | SignalContainer | RunProbe | RunHook


class PodLife:
    """All containers of one pod."""

    def __init__(self, spec: PodSpec) -> None:
        self.spec = spec
        self.inits = [ContainerLife(item) for item in spec.init_containers]
        self.mains = [ContainerLife(item) for item in spec.containers]
        self._by_name = {life.spec.name: life for life in (*self.inits, *self.mains)}
        self._prepared = False
        self._failed_init = False
        self._deleted_at: float | None = None
        self._grace_s = float(spec.termination_grace_period_seconds)

    # -- news -----------------------------------------------------------------------------------------------------

    def prepared(self) -> None:
        """Note that the pod's network, files and capture are there: containers may start."""
        self._prepared = True

    def started(self, name: str, attempt: int, now: float) -> None:
        """Note that a container's program runs."""
        life = self._current(name, attempt)
        if life is not None and life.state == "starting":
            life.running(now)

    def exited(self, name: str, attempt: int, end: Ended) -> None:
        """Note that a container's run is over, or that it could not be started."""
        life = self._current(name, attempt)
        if life is None or not life.up:
            return
        restart = self._restarts(life, end.exit_code)
        life.ended(end, restart)
        if life in self.inits and not restart and end.exit_code != 0:
            self._failed_init = True

    def answered(self, name: str, attempt: int, kind: ProbeKind, ok: bool, now: float) -> None:
        """Note what a probe answered."""
        life = self._current(name, attempt)
        if life is not None and life.answered(kind, ok, now) and life.kill_at is None:
            life.kill_at = now + self._grace_s

    def hook_over(self, name: str, attempt: int, now: float) -> None:
        """Note that a container's preStop command is over, however it went."""
        life = self._current(name, attempt)
        if life is not None and life.hooked and life.ask_at is None:
            life.ask_at = now

    def delete(self, grace_s: float, now: float) -> None:
        """Note that the pod is to go; a second call may only shorten the grace period."""
        if self._deleted_at is None:
            self._deleted_at, self._grace_s = now, grace_s
        else:
            self._grace_s = min(self._grace_s, grace_s)
        for life in self._by_name.values():
            if life.kill_at is not None:
                life.kill_at = min(life.kill_at, self._deleted_at + self._grace_s)

    # -- what follows ---------------------------------------------------------------------------------------------

    def advance(self, now: float) -> list[Order]:
        """Return what is to be done now; each order is given once."""
        orders: list[Order] = []
        if self.ending:
            self._end_all(now)
        elif self._prepared:
            orders += (self._start(life) for life in self._startable(now))
        for life in self._by_name.values():
            orders += self._stop(life, now)
            if not self.ending:
                orders += self._probe(life, now)
        return orders

    def wake_at(self) -> float | None:
        """Return when `advance` has to be asked again if nothing happens before, or None."""
        return min(self._dates(), default=None)

    @property
    def ending(self) -> bool:
        """Whether the pod is on its way out: deleted, or nothing of it is left to run."""
        return self._deleted_at is not None or self.phase in {"Succeeded", "Failed"}

    @property
    def gone(self) -> bool:
        """Whether it was deleted and nothing of it runs any more."""
        return self._deleted_at is not None and not any(life.up for life in self._by_name.values())

    @property
    def initialized(self) -> bool:
        """Whether all init containers are through."""
        return all(self._through(life) for life in self.inits)

    @property
    def ready(self) -> bool:
        """Whether it may be sent traffic."""
        serving = [*self.mains, *(life for life in self.inits if _sidecar(life))]
        return self._deleted_at is None and self.initialized and all(life.ready for life in serving)

    @property
    def phase(self) -> Phase:
        """The pod's phase."""
        if self._failed_init:
            return "Failed"
        if not self.initialized or not any(life.attempt for life in self.mains):
            return "Pending"
        if all(life.state == "ended" for life in self.mains):
            good = all(life.last is not None and life.last.exit_code == 0 for life in self.mains)
            return "Succeeded" if good else "Failed"
        return "Running"

    def container(self, name: str) -> ContainerLife | None:
        """Return the life of a container."""
        return self._by_name.get(name)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _current(self, name: str, attempt: int) -> ContainerLife | None:
        life = self._by_name.get(name)
        return life if life is not None and life.attempt == attempt else None

    def _restarts(self, life: ContainerLife, exit_code: int) -> bool:
        if self.ending:
            return False
        if _sidecar(life):
            return True
        if self.spec.restart_policy == "Never" or (life in self.inits and exit_code == 0):
            return False
        return self.spec.restart_policy == "Always" or exit_code != 0

    @staticmethod
    def _through(life: ContainerLife) -> bool:
        if _sidecar(life):
            return life.ever_up
        return life.state == "ended" and life.last is not None and life.last.exit_code == 0

    def _startable(self, now: float) -> Iterator[ContainerLife]:
        for life in self.inits:
            if life.state == "waiting" and life.start_at <= now:
                yield life
            if not self._through(life):
                return
        yield from (life for life in self.mains if life.state == "waiting" and life.start_at <= now)

    @staticmethod
    def _start(life: ContainerLife) -> StartContainer:
        life.begin()
        return StartContainer(life.spec.name, life.attempt)

    def _end_all(self, now: float) -> None:
        for life in self._by_name.values():
            if life.up and life.kill_at is None:
                life.kill_at = now + self._grace_s

    @staticmethod
    def _stop(life: ContainerLife, now: float) -> Iterator[SignalContainer | RunHook]:
        """Ask a container to end once it runs and its hook is over, and kill it when its time is over."""
        if life.kill_at is None or life.state != "running" or life.killed:
            return
        if life.kill_at <= now:
            life.killed = True
            yield SignalContainer(life.spec.name, life.attempt, "KILL")
            return
        if not life.hooked:
            life.hooked = True
            hook = life.spec.lifecycle.pre_stop
            if hook is not None and hook.exec is not None:
                yield RunHook(life.spec.name, life.attempt)
            else:
                life.ask_at = now + (hook.sleep.seconds if hook is not None and hook.sleep is not None else 0)
        if life.ask_at is not None and life.ask_at <= now and not life.asked:
            life.asked = True
            yield SignalContainer(life.spec.name, life.attempt, "TERM")

    @staticmethod
    def _probe(life: ContainerLife, now: float) -> Iterator[RunProbe]:
        if life.state != "running" or life.kill_at is not None:
            return
        for kind, state in life.probes.items():
            if not state.running and state.due_at <= now:
                state.begin()
                yield RunProbe(life.spec.name, life.attempt, kind)

    def _dates(self) -> Iterator[float]:
        for life in self._by_name.values():
            if life.kill_at is not None:
                if life.state == "running" and not life.killed:
                    yield life.kill_at
                    if life.ask_at is not None and not life.asked:
                        yield life.ask_at
                continue
            if life.state == "waiting" and life.start_at and not self.ending:
                yield life.start_at
            if life.state == "running" and not self.ending:
                yield from (state.due_at for state in life.probes.values() if not state.running)


def _sidecar(life: ContainerLife) -> bool:
    return life.spec.restart_policy == "Always"
