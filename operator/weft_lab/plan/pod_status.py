"""A pod's status as the API shows it, from its life and its network. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from weft_lab.model import Condition, ContainerStatus, PodStatus
from weft_lab.model.pod import ContainerState, HostIP, Running, Terminated, Waiting
from weft_lab.plan.container_life import ContainerLife, Ended
from weft_lab.plan.pod_life import PodLife

Clock: TypeAlias = Callable[[float], str]
"""Turns monotonic seconds into the time text of the API."""


@dataclass(slots=True)
class StatusWriter:
    """Writes one pod's status again and again; remembers since when each condition holds."""

    clock: Clock
    start_time: str
    _since: dict[str, tuple[bool, str]] = field(default_factory=dict)

    def write(self, life: PodLife, pod_ips: tuple[str, ...], host_ips: tuple[str, ...], now: float) -> PodStatus:
        """Return the status at this moment.

        Args:
            life: the pod's containers.
            pod_ips: its addresses, IPv4 first; none before it has a network.
            host_ips: its node's addresses, IPv4 first.
            now: monotonic seconds.
        """
        ready = life.ready
        waiting = [item.spec.name for item in life.mains if not item.ready]
        reason = "" if ready else "ContainersNotReady"
        message = "" if ready else f"containers with unready status: [{' '.join(waiting)}]"
        done = life.phase == "Succeeded"
        conditions = (
            self._condition("PodScheduled", True, now),
            self._condition("PodReadyToStartContainers", bool(pod_ips), now),
            self._condition(
                "Initialized", life.initialized, now, "" if life.initialized else "ContainersNotInitialized"
            ),
            self._condition("ContainersReady", ready, now, "PodCompleted" if done else reason, "" if done else message),
            self._condition("Ready", ready, now, "PodCompleted" if done else reason, "" if done else message),
        )
        return PodStatus(
            phase=life.phase,
            conditions=conditions,
            host_ip=host_ips[0] if host_ips else "",
            host_ips=tuple(HostIP(ip=text) for text in host_ips),
            pod_ip=pod_ips[0] if pod_ips else "",
            pod_ips=tuple(HostIP(ip=text) for text in pod_ips),
            start_time=self.start_time,
            container_statuses=tuple(self._containers(life.mains)),
            init_container_statuses=tuple(self._containers(life.inits)),
        )

    def _condition(self, kind: str, status: bool, now: float, reason: str = "", message: str = "") -> Condition:
        known = self._since.get(kind)
        if known is None or known[0] != status:
            known = self._since[kind] = (status, self.clock(now))
        text: Literal["True", "False"] = "True" if status else "False"
        return Condition(type=kind, status=text, reason=reason, message=message, last_transition_time=known[1])

    def _containers(self, lives: Iterable[ContainerLife]) -> Iterable[ContainerStatus]:
        for life in lives:
            last = self._ended(life.last) if life.last is not None else None
            yield ContainerStatus(
                name=life.spec.name,
                ready=life.ready or (life.state == "ended" and life.last is not None and life.last.exit_code == 0),
                started=life.state == "running" and life.passed_startup,
                restart_count=life.restarts,
                state=self._state(life, last),
                image=life.spec.image,
                last_state=ContainerState(terminated=last)
                if last is not None and life.state != "ended"
                else ContainerState(),
            )

    def _state(self, life: ContainerLife, last: Terminated | None) -> ContainerState:
        if life.state == "running":
            return ContainerState(running=Running(started_at=self.clock(life.started_at)))
        if life.state == "ended" and last is not None:
            return ContainerState(terminated=last)
        return ContainerState(waiting=Waiting(reason=life.reason, message=life.message))

    def _ended(self, end: Ended) -> Terminated:
        return Terminated(
            exit_code=end.exit_code,
            reason=end.reason,
            message=end.message,
            signal=end.signal,
            finished_at=self.clock(end.at),
        )
