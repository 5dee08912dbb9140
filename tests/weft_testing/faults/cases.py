"""The faults themselves: each breaks one thing while load runs in the lab, and returns what it cost.

The load is the same for all: HTTP on kept and on new connections, echo on long ones, a download, to the caller's own node
and to the other, in both families, with no retry anywhere.
"""

import threading
import time
from collections.abc import Iterator
from typing import Any, Final

import yaml

from weft_contract.limits import DEFAULT_LIMITS
from weft_lab.client import Client
from weft_lab.protocol import Source
from weft_testing.faults.agents import Process
from weft_testing.faults.cost import Cost, Death, cost, none_failed, only_its_own
from weft_testing.faults.lab import NODES, FaultLab
from weft_testing.faults.loads import Load
from weft_testing.faults.scene import NAMESPACE, server_policy, split, unrelated_policy
from weft_testing.load_verdict import Stream

REPLACED_MS: Final = 500.0
APPLY_S: Final = 0.53
"""Between two changes: the agent applies at most two a second, so that each of ours is a reload of its own."""
GROWTH_BYTES: Final = 24 * 1024 * 1024
"""What an agent's process may gain over any number of reloads: caches and the allocator's slack, not a leak of each."""
STALLED_BYTES: Final = 8_000_000
HELD_BYTES: Final = DEFAULT_LIMITS.tunnel_stream_window_max_bytes // 2
"""For one stalled reader and one resting connection, all processes of both agents together: the window of a flow has grown with
what the kernel's own buffers took, and what was asked for is far more."""
CALM_S: Final = 1.0
_NOT_APPLIED_S: Final = 30.0


def streams(lab: FaultLab, clients: int = 3) -> list[Stream]:
    """Return the load of every case."""
    return [
        lab.stream("near", "http", clients=clients),
        lab.stream("far", "http", clients=clients, family=6),
        lab.stream("far", "http-new", clients=clients),
        lab.stream("near", "http-new", clients=1),
        lab.stream("split", "http", clients=clients),
        lab.stream("near", "tcp", clients=clients, family=6),
        lab.stream("far", "tcp", clients=clients),
        lab.stream("near", "tcp-new", clients=1),
        lab.stream("far", "tcp-new", clients=1, family=6),
        lab.stream("far", "download", clients=1, interval_s=0.1, size_bytes=300_000),
    ]


def nothing(lab: FaultLab, seconds: float = 5.0) -> Cost:
    """Break nothing, to know what the load itself and a busy machine come to."""
    with lab.load(streams(lab)) as load:
        _pass(seconds)
        verdicts = list(load.stop().values())
    return cost("nothing (for comparison)", "0 failed", verdicts, none_failed(verdicts))


def worker_killed(lab: FaultLab, node: str, rounds: int = 1) -> Cost:
    """kill -9 of a worker of a node; each round another one, with a spare that is warm again."""
    deaths: list[Death] = []
    replaced_ms: list[float] = []
    with lab.load(streams(lab)) as load:
        for number in range(rounds):
            lab.until_spare(node)
            _pass(CALM_S)
            death, took_ms = _kill_worker(lab, node, number)
            deaths.append(death)
            replaced_ms.append(took_ms)
        _pass(CALM_S)
        verdicts = list(load.stop().values())
    lab.settle()
    problems = only_its_own(verdicts, deaths)
    problems += [f"replaced after {took:.0f} ms" for took in replaced_ms if took > REPLACED_MS]
    figures: dict[str, float] = {"rounds": rounds, "replaced_ms": max(replaced_ms)}
    held = [len(death.held) for death in deaths if death.held is not None]
    if held:
        figures["connections_held"] = sum(held)
    bar = f"only what was in flight on it; replaced within {REPLACED_MS:g} ms"
    return cost(f"kill -9 of a worker, {node}", bar, verdicts, problems, **figures)


def _kill_worker(lab: FaultLab, node: str, number: int) -> tuple[Death, float]:
    """Kill one worker; return its death and how long it took until another one served in its place."""
    workers = lab.workers(node)
    victim = workers[number % len(workers)]
    held = lab.held(victim) if node == NODES[0] else None
    killed_s = time.monotonic()
    victim.kill()
    gone_s = time.monotonic()

    def replaced(status: dict[str, Any]) -> bool:
        serving = [worker["pid"] for worker in status["workers"] if worker["state"] == "serving"]
        return len(serving) == len(workers) and victim.pid not in serving

    lab.until_status(node, "the worker is replaced", replaced, patience_s=10)
    return Death(killed_s=killed_s, gone_s=gone_s, held=held), (time.monotonic() - killed_s) * 1000


def control_killed(lab: FaultLab, node: str, rounds: int = 1) -> Cost:
    """kill -9 of control of a node: its workers serve on and are adopted by the next one."""
    workers = lab.workers(node)
    back_ms: list[float] = []
    with lab.load(streams(lab)) as load:
        for _ in range(rounds):
            _pass(CALM_S)
            back_ms.append(_kill_control(lab, node))
        _pass(CALM_S)
        verdicts = list(load.stop().values())
    lab.settle()
    problems = none_failed(verdicts)
    if (after := lab.workers(node)) != workers:
        problems.append(f"workers {_pids(workers)} became {_pids(after)}")
    return cost(
        f"kill -9 of control, {node}", "0 failed, the same workers", verdicts, problems,
        rounds=rounds, ready_again_ms=max(back_ms),
    )  # fmt: skip


def _kill_control(lab: FaultLab, node: str) -> float:
    victim = lab.process(node, "control")
    began_s = time.monotonic()
    victim.kill()
    lab.until_status(node, "control is ready again", lambda status: status["pid"] != victim.pid and status["ready"], 20)
    return (time.monotonic() - began_s) * 1000


def reloaded(lab: FaultLab, count: int) -> Cost:
    """Change the configuration that often, each change applied by both agents on its own.

    Every change moves the weights of a route that the load uses and a policy that it does not; every tenth changes the very
    policy that lets the load pass.
    """
    before = {node: lab.generation(node) for node in NODES}
    held = _resident(lab)
    with lab.load(streams(lab)) as load:
        changed = _change_until(lab, {node: generation + count for node, generation in before.items()}, load)
        verdicts = list(load.stop().values())
    _apply(Client(lab.name), server_policy())
    lab.settle()
    grown = max(after - held[pid] for pid, after in _resident(lab).items() if pid in held)
    problems = none_failed(verdicts)
    problems += [f"{node}: {text}" for node in NODES for text in lab.status(node)["config"]["problems"]]
    if grown > GROWTH_BYTES:
        problems.append(f"a process grew by {grown >> 20} MiB")
    applied = min(lab.generation(node) - before[node] for node in NODES)
    return cost(
        f"configuration reloaded {count} times", "0 failed", verdicts, problems,
        changes=changed, applied_by_each_node=applied, largest_growth_mib=grown / 2**20,
    )  # fmt: skip


def slow_readers(lab: FaultLab, count: int = 40) -> Cost:
    """Readers that ask for much and take nothing, beside the load: they cost little memory, and the load nothing."""
    stalled = lab.stream("far", "stall", clients=count, interval_s=0.02, size_bytes=STALLED_BYTES)
    resting = lab.stream("near", "idle", clients=count, interval_s=0.02)
    with lab.load(streams(lab)) as load:
        _pass(CALM_S)
        before = _resident(lab)
        with lab.load([stalled, resting]) as crowd:
            _pass(2 * CALM_S)
            held = sum(after - before.get(pid, after) for pid, after in _resident(lab).items())
            verdicts = list(crowd.stop().values())
        verdicts += load.stop().values()
    problems = none_failed(verdicts)
    if held > count * HELD_BYTES:
        problems.append(f"the agents hold {held / count / 1024:.0f} KiB for each stalled reader")
    return cost(
        f"{count} readers that take nothing, {count} connections that rest", "0 failed, little memory", verdicts, problems,
        kib_held_by_all_agents_for_each=held / count / 1024,
    )  # fmt: skip


def _change_until(lab: FaultLab, wanted: dict[str, int], load: Load) -> int:
    """Apply changes until both agents' generations are as wanted; return how many it took."""
    client = Client(lab.name)
    missing = max(wanted[node] - lab.generation(node) for node in NODES)
    deadline = time.monotonic() + _NOT_APPLIED_S + 3 * APPLY_S * missing
    number = 0
    while missing > 0:
        for _ in range(missing):
            number += 1
            due = time.monotonic() + APPLY_S
            _apply(client, *_change(number))
            _pass(due - time.monotonic())
        missing = max(wanted[node] - lab.generation(node) for node in NODES)
        if time.monotonic() > deadline or not load.running:
            raise TimeoutError(f"{missing} reloads of the agents are missing after {number} changes")
    return number


def _change(number: int) -> Iterator[str]:
    yield unrelated_policy(number)
    yield split(number * 37 % 101)
    if number % 10 == 0:
        yield server_policy(f"caller-{number}")


def _apply(client: Client, *texts: str) -> None:
    documents = tuple(
        Source(source=f"change {number}", body=body)
        for number, text in enumerate(texts)
        for body in yaml.safe_load_all(text)
    )
    applied = client.apply(documents, NAMESPACE)
    assert not [problem for problem in applied.problems if not problem.warning], applied.problems


def _resident(lab: FaultLab) -> dict[int, int]:
    """Return the memory of every process of the agents by its id."""
    return {process.pid: process.resident_bytes for node in NODES for process in lab.agent(node)}


def _pass(seconds: float) -> None:
    """Let the load run for a while."""
    threading.Event().wait(max(0.0, seconds))


def _pids(workers: list[Process]) -> list[int]:
    return [worker.pid for worker in workers]
