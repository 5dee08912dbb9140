"""Load: one run of a generator against one entrant, and the judgement whether every operation of it was right."""

import json
import subprocess
from dataclasses import dataclass
from typing import Any, Final, assert_never

from perf.bench.entrants import Entrant
from perf.bench.programs import WRK_REPORT
from perf.bench.proof import HEADERS, TARGET
from perf.bench.scenarios import GIB, HANDSHAKES_PER_RUN, MESSAGE_BYTES, Scenario
from perf.bench.stage import Stage

_GRACE_S: Final = 30
"""Beyond the time asked for; a generator that needs more is ended."""
_SLACK_BYTES: Final = 8
"""Answers to equal requests may differ by a digit or two of a header."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a generator did."""

    operations: float
    """In the scenario's unit."""
    seconds: float
    errors: tuple[str, ...] = ()
    p50_us: int | None = None
    p99_us: int | None = None


def run(
    stage: Stage,
    scenario: Scenario,
    entrant: Entrant,
    connections: int,
    seconds: int,
    *,
    wire_bytes: int,
    first_port: int,
) -> Run:
    """Make load once.

    Args:
        stage: the lab.
        scenario: which load.
        entrant: on whom.
        connections: how many at a time.
        seconds: how long.
        wire_bytes: of one answer, as `prove` saw it.
        first_port: for new tunnels, the first of the ports that nobody used yet.
    """
    programs, port = stage.programs, scenario.port
    match scenario.load:
        case "http":
            headers = [word for name, value in HEADERS for word in ("-H", f"{name}: {value}")]
            url = f"http://{entrant.host}:{port}{TARGET}"
            words = [
                "wrk",
                "-t",
                "1",
                "-c",
                str(connections),
                "-d",
                f"{seconds}s",
                "-s",
                str(WRK_REPORT),
                *headers,
                url,
            ]
        case "pingpong":
            words = [programs.pingpong, entrant.host, str(port), str(connections), str(seconds), str(MESSAGE_BYTES)]
        case "bulk":
            words = [programs.bulk, entrant.host, str(port), str(seconds)]
        case "connect":
            ports = f"{port}-{port + scenario.ports - 1}"
            words = [programs.connect, entrant.host, ports, str(connections), str(seconds), "0", str(MESSAGE_BYTES)]
        case "handshake":
            ports = f"{first_port}-{first_port + HANDSHAKES_PER_RUN - 1}"
            many = str(HANDSHAKES_PER_RUN)
            words = [programs.connect, entrant.host, ports, str(connections), "20", many, str(MESSAGE_BYTES)]
        case _:
            assert_never(scenario.load)
    said, error = _generate(stage.command_in(entrant.client, stage.cores.load, *words), seconds + _GRACE_S)
    if said is None:
        return Run(0, float(seconds), (error,))
    return reading(scenario, said, connections, wire_bytes)


def _generate(command: list[str], timeout_s: float) -> tuple[dict[str, Any] | None, str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return None, f"the generator did not end within {timeout_s:g} s"
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        return None, f"the generator ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}"
    said: dict[str, Any] = json.loads(lines[-1])
    return said, ""


def reading(scenario: Scenario, said: dict[str, Any], connections: int, wire_bytes: int) -> Run:
    """Judge what a generator said.

    Args:
        scenario: the load.
        said: its line.
        connections: how many there were; that many answers may be cut at the end.
        wire_bytes: of one answer.
    """
    match scenario.load:
        case "http":
            errors = _wrk_errors(said, connections, wire_bytes)
        case "pingpong" | "bulk" | "connect" | "handshake":
            errors = [f"{said['errors']} errors, first: {said['first_error']}"] if said["errors"] else []
        case _:
            assert_never(scenario.load)
    done = said["bytes"] / GIB if scenario.load == "bulk" else said["operations"]
    if not done:
        errors.append("nothing was done")
    if scenario.load == "handshake" and done != HANDSHAKES_PER_RUN:
        errors.append(f"{done} of {HANDSHAKES_PER_RUN} connections")
    return Run(done, said["seconds"], tuple(errors), said.get("p50_us"), said.get("p99_us"))


def _wrk_errors(said: dict[str, Any], connections: int, wire_bytes: int) -> list[str]:
    errors = [f"{said[name]} {name} errors" for name in ("connect", "read", "write", "status", "timeout") if said[name]]
    least = said["operations"] * (wire_bytes - _SLACK_BYTES)
    most = (said["operations"] + 2 * connections) * (wire_bytes + _SLACK_BYTES)
    if not least <= said["bytes"] <= most:
        errors.append(f"{said['bytes']} bytes for {said['operations']} answers of {wire_bytes} bytes each")
    return errors
