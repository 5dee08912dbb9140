"""The life of a pod, told as conversations: what happens on the left, what is ordered on the right."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft_lab.model import Container, Pod, PodSpec
from weft_lab.plan.container_life import FIRST_BACKOFF_S, MAX_BACKOFF_S, Ended
from weft_lab.plan.pod_life import Order, PodLife, RunHook, RunProbe, SignalContainer, StartContainer
from weft_testing.lab import one


def spec(containers: str, rest: str = "") -> PodSpec:
    found = one(f"{{apiVersion: v1, kind: Pod, metadata: {{name: a}}, spec: {{{rest} containers: [{containers}]}}}}")
    assert isinstance(found, Pod)
    return found.spec


def main(name: str = "main", fields: str = "") -> str:
    return f"{{name: {name}, command: [sh]{', ' if fields else ''}{fields}}}"


class Play:
    """A pod and its clock; every order must be expected."""

    def __init__(self, found: PodSpec) -> None:
        self.life = PodLife(found)
        self.now = 0.0
        self.life.prepared()

    def orders(self, *expected: Order) -> "Play":
        assert self.life.advance(self.now) == list(expected)
        return self

    def ready(self) -> bool:
        return self.life.ready

    def started(self, name: str = "main", attempt: int = 1) -> "Play":
        self.life.started(name, attempt, self.now)
        return self

    def ended(self, name: str = "main", attempt: int = 1, code: int = 0) -> "Play":
        self.life.exited(name, attempt, Ended(code, 0, "Completed" if code == 0 else "Error", "", self.now))
        return self

    def answered(self, kind: str, ok: bool, name: str = "main", attempt: int = 1) -> "Play":
        self.life.answered(name, attempt, kind, ok, self.now)  # type: ignore[arg-type]  # one of the probe kinds
        return self

    def later(self, seconds: float) -> "Play":
        self.now += seconds
        return self

    def until_woken(self) -> "Play":
        wake_at = self.life.wake_at()
        assert wake_at is not None, "nothing would ever happen"
        self.now = max(self.now, wake_at)
        return self


def test_nothing_starts_before_the_pod_is_prepared() -> None:
    life = PodLife(spec(main()))
    assert life.advance(0.0) == []
    life.prepared()
    assert life.advance(0.0) == [StartContainer("main", 1)]


def test_a_plain_pod_runs_is_ready_and_each_order_comes_once() -> None:
    play = Play(spec(main())).orders(StartContainer("main", 1)).orders()
    assert play.life.phase == "Running"
    assert not play.ready()
    play.started().orders()
    assert play.ready()
    assert play.life.wake_at() is None


def test_init_containers_run_one_after_the_other_and_then_all_others_at_once() -> None:
    play = Play(spec(f"{main('a')}, {main('b')}", f"initContainers: [{main('i1')}, {main('i2')}],"))
    play.orders(StartContainer("i1", 1)).started("i1").orders()
    assert play.life.phase == "Pending"
    play.ended("i1").orders(StartContainer("i2", 1)).started("i2").ended("i2")
    assert play.life.initialized
    play.orders(StartContainer("a", 1), StartContainer("b", 1))


def test_a_failing_init_container_is_tried_again() -> None:
    play = Play(spec(main(), f"initContainers: [{main('i')}],")).orders(StartContainer("i", 1)).started("i")
    play.ended("i", code=1).orders(StartContainer("i", 2)).started("i", 2).ended("i", 2, code=1).orders()
    play.later(FIRST_BACKOFF_S).orders(StartContainer("i", 3)).started("i", 3).ended("i", 3).orders(
        StartContainer("main", 1)
    )


def test_a_failing_init_container_of_a_pod_that_never_restarts_fails_the_pod() -> None:
    play = Play(spec(main(), f"restartPolicy: Never, initContainers: [{main('i')}],")).orders(StartContainer("i", 1))
    play.started("i").ended("i", code=3).orders()
    assert play.life.phase == "Failed"


def test_a_sidecar_stays_beside_the_others_and_ends_with_them() -> None:
    sidecar = main("proxy", "restartPolicy: Always, startupProbe: {tcpSocket: {port: 1}}")
    play = Play(spec(main(), f"restartPolicy: Never, initContainers: [{sidecar}],")).orders(StartContainer("proxy", 1))
    play.started("proxy").orders(RunProbe("proxy", 1, "startup")).orders()
    play.answered("startup", True, "proxy").orders(StartContainer("main", 1)).started()
    play.ended("proxy", code=1).orders(StartContainer("proxy", 2)).started("proxy", 2).orders(
        RunProbe("proxy", 2, "startup")
    )
    play.ended("main").orders(SignalContainer("proxy", 2, "TERM"))
    assert play.life.phase == "Succeeded"
    play.ended("proxy", 2, 143).orders()


@pytest.mark.parametrize(
    ("policy", "code", "again", "phase"),
    [
        ("Always", 0, True, "Running"), ("Always", 1, True, "Running"), ("OnFailure", 0, False, "Succeeded"),
        ("OnFailure", 1, True, "Running"), ("Never", 0, False, "Succeeded"), ("Never", 1, False, "Failed"),
    ],
)  # fmt: skip
def test_restart_policies(policy: str, code: int, again: bool, phase: str) -> None:
    play = Play(spec(main(), f"restartPolicy: {policy},")).orders(StartContainer("main", 1)).started().ended(code=code)
    assert play.life.phase == phase
    play.orders(*([StartContainer("main", 2)] if again else []))


def test_crashes_are_answered_with_growing_patience() -> None:
    play = Play(spec(main())).orders(StartContainer("main", 1))
    waits = []
    for attempt in range(1, 12):
        play.started(attempt=attempt).ended(attempt=attempt, code=1)
        before = play.now
        while not (orders := play.life.advance(play.now)):
            play.until_woken()
        assert orders == [StartContainer("main", attempt + 1)]
        waits.append(play.now - before)
    assert waits == [0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert max(waits) == MAX_BACKOFF_S
    life = play.life.container("main")
    assert life is not None
    assert life.restarts == 11


def test_a_long_run_is_forgiven() -> None:
    play = (
        Play(spec(main())).orders(StartContainer("main", 1)).started().ended(code=1).orders(StartContainer("main", 2))
    )
    play.started(attempt=2).later(61).ended(attempt=2, code=1).orders(StartContainer("main", 3))


def test_a_container_that_cannot_be_started_waits_like_one_that_crashed() -> None:
    play = Play(spec(main())).orders(StartContainer("main", 1))
    play.ended(code=128).orders(StartContainer("main", 2)).ended(attempt=2, code=128).orders()
    life = play.life.container("main")
    assert life is not None
    assert life.reason == "CrashLoopBackOff"


def test_startup_holds_the_other_probes_back() -> None:
    probes = "startupProbe: {tcpSocket: {port: 1}}, livenessProbe: {tcpSocket: {port: 2}}, readinessProbe: {tcpSocket: {port: 3}}"
    play = (
        Play(spec(main(fields=probes)))
        .orders(StartContainer("main", 1))
        .started()
        .orders(RunProbe("main", 1, "startup"))
    )
    play.answered("startup", True).orders(RunProbe("main", 1, "liveness"), RunProbe("main", 1, "readiness"))
    play.answered("liveness", True).answered("readiness", True)
    assert play.ready()


def test_readiness_decides_traffic_and_never_restarts() -> None:
    probe = "readinessProbe: {tcpSocket: {port: 1}, periodSeconds: 1, failureThreshold: 1}"
    play = (
        Play(spec(main(fields=probe)))
        .orders(StartContainer("main", 1))
        .started()
        .orders(RunProbe("main", 1, "readiness"))
    )
    assert not play.ready()
    play.answered("readiness", True)
    assert play.ready()
    play.until_woken().orders(RunProbe("main", 1, "readiness")).answered("readiness", False).orders()
    assert not play.ready()
    play.until_woken().orders(RunProbe("main", 1, "readiness")).answered("readiness", True).orders()
    assert play.ready()


def test_failed_liveness_restarts_with_term_and_then_kill() -> None:
    probe = "livenessProbe: {tcpSocket: {port: 1}, periodSeconds: 1, failureThreshold: 2}"
    found = spec(main(fields=probe), "terminationGracePeriodSeconds: 7,")
    play = Play(found).orders(StartContainer("main", 1)).started().orders(RunProbe("main", 1, "liveness"))
    play.answered("liveness", False).orders().until_woken().orders(RunProbe("main", 1, "liveness"))
    play.answered("liveness", False).orders(SignalContainer("main", 1, "TERM")).orders()
    play.until_woken()
    assert play.now == 1 + 7
    play.orders(SignalContainer("main", 1, "KILL")).orders().ended(code=137).orders(StartContainer("main", 2))


def test_a_failed_startup_restarts_too() -> None:
    probe = "startupProbe: {tcpSocket: {port: 1}, periodSeconds: 1, failureThreshold: 1}"
    play = Play(spec(main(fields=probe))).orders(StartContainer("main", 1)).started().later(2)
    play.orders(RunProbe("main", 1, "startup")).answered("startup", False).orders(SignalContainer("main", 1, "TERM"))


def test_late_news_of_an_earlier_run_is_dropped() -> None:
    probe = "livenessProbe: {tcpSocket: {port: 1}, failureThreshold: 1}"
    play = (
        Play(spec(main(fields=probe)))
        .orders(StartContainer("main", 1))
        .started()
        .orders(RunProbe("main", 1, "liveness"))
    )
    play.ended(code=1).orders(StartContainer("main", 2)).started(attempt=2).orders(RunProbe("main", 2, "liveness"))
    play.answered("liveness", False, attempt=1).orders().ended(attempt=1).orders().started(attempt=1).orders()


def test_deleting_ends_everything_and_starts_nothing() -> None:
    play = (
        Play(spec(f"{main('a')}, {main('b')}"))
        .orders(StartContainer("a", 1), StartContainer("b", 1))
        .started("a")
        .started("b")
    )
    play.life.delete(5, play.now)
    assert not play.ready()
    play.orders(SignalContainer("a", 1, "TERM"), SignalContainer("b", 1, "TERM")).ended("a", code=143).orders()
    assert not play.life.gone
    play.until_woken().orders(SignalContainer("b", 1, "KILL")).ended("b", code=137).orders()
    assert play.life.gone


def test_a_second_deletion_may_only_shorten_the_time() -> None:
    play = Play(spec(main())).orders(StartContainer("main", 1)).started()
    play.life.delete(30, 0.0)
    play.orders(SignalContainer("main", 1, "TERM"))
    play.life.delete(60, 1.0)
    assert play.life.wake_at() == 30.0
    play.life.delete(0, 2.0)
    play.later(2).orders(SignalContainer("main", 1, "KILL"))


def test_a_pod_deleted_while_its_container_starts_ends_it_once_it_runs() -> None:
    play = Play(spec(main())).orders(StartContainer("main", 1))
    play.life.delete(5, play.now)
    play.orders()
    assert not play.life.gone
    play.started().orders(SignalContainer("main", 1, "TERM"))


def test_a_pod_deleted_before_anything_ran_is_gone_at_once() -> None:
    life = PodLife(spec(main()))
    life.delete(30, 0.0)
    assert life.advance(0.0) == []
    assert life.gone


def test_a_sleeping_hook_delays_the_signal_within_the_grace_period() -> None:
    found = spec(main(fields="lifecycle: {preStop: {sleep: {seconds: 3}}}"))
    play = Play(found).orders(StartContainer("main", 1)).started()
    play.life.delete(10, play.now)
    play.orders().until_woken()
    assert play.now == 3
    play.orders(SignalContainer("main", 1, "TERM"))


def test_a_hook_command_runs_before_the_signal() -> None:
    found = spec(main(fields="lifecycle: {preStop: {exec: {command: [x]}}}"))
    play = Play(found).orders(StartContainer("main", 1)).started()
    play.life.delete(10, play.now)
    play.orders(RunHook("main", 1)).orders().later(2)
    play.life.hook_over("main", 1, play.now)
    play.orders(SignalContainer("main", 1, "TERM"))


def test_a_hook_that_never_ends_does_not_save_the_container() -> None:
    found = spec(main(fields="lifecycle: {preStop: {exec: {command: [x]}}}"))
    play = Play(found).orders(StartContainer("main", 1)).started()
    play.life.delete(10, play.now)
    play.orders(RunHook("main", 1)).until_woken().orders(SignalContainer("main", 1, "KILL"))


NEWS = st.one_of(
    st.tuples(st.just("time"), st.floats(0, 20)),
    st.tuples(st.sampled_from(["started", "ended"]), st.integers(0, 2)),
    st.tuples(st.sampled_from(["yes", "no"]), st.integers(0, 2)),
    st.tuples(st.just("delete"), st.floats(0, 30)),
)
PROBES = (
    "livenessProbe: {tcpSocket: {port: 1}, periodSeconds: 2}, readinessProbe: {tcpSocket: {port: 1}, periodSeconds: 1}"
)


@settings(max_examples=300, deadline=None)
@given(st.lists(NEWS, max_size=60), st.sampled_from(["Always", "OnFailure", "Never"]))
def test_whatever_happens_the_life_stays_sane(news: list[tuple[str, float]], policy: str) -> None:
    """No container runs twice, ended pods start nothing, and there is always a reason to wake up later than now."""
    found = spec(main(fields=PROBES), f"restartPolicy: {policy}, initContainers: [{main('init')}],")
    names: list[Container] = [*found.init_containers, *found.containers]
    life, now = PodLife(found), 0.0
    life.prepared()
    up: set[tuple[str, int]] = set()
    for what, value in news:
        container = names[int(value) % len(names)].name
        attempt = getattr(life.container(container), "attempt", 0)
        match what:
            case "time":
                now += value
            case "started":
                life.started(container, attempt, now)
            case "ended":
                life.exited(container, attempt, Ended(int(value), 0, "", "", now))
                up.discard((container, attempt))
            case "yes" | "no":
                life.answered(container, attempt, "liveness" if value else "readiness", what == "yes", now)
            case _:
                life.delete(value, now)
        was_ending = life.ending
        for order in life.advance(now):
            if isinstance(order, StartContainer):
                assert not was_ending
                assert not any(name == order.name for name, _ in up), "started while it runs"
                up.add((order.name, order.attempt))
        assert life.advance(now) == [], "every order is given once"
        wake_at = life.wake_at()
        assert wake_at is None or wake_at > now or life.advance(wake_at) is not None
        if wake_at is not None and wake_at <= now:
            raise AssertionError("the loop would turn for nothing")
        assert not (life.ready and life.ending)
        assert not life.gone or not up
