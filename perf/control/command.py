"""The command line of `make perf-control`: both processes, in order, then a table, a file and an exit status.

Exit statuses: 0 measured (a missed bar is a result), 1 it could not be measured, 2 wrong usage.
"""

import argparse
import os
import platform
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

import msgspec
from perf.control.plan import Plan

ROOT: Final = Path(__file__).resolve().parents[2]
RESULTS: Final = ROOT / "perf" / "results" / "control"
LAG_BAR_S: Final = 1.0
"""p99 from a change to its being in force on a node."""
Facts = dict[str, Any]  # what a process says of itself: JSON


class SideError(Exception):
    """A process ended before it had answered."""


class Side:
    """One of the two processes."""

    def __init__(self, module: str, *words: str) -> None:
        self._module = module
        path = os.pathsep.join(str(ROOT / part) for part in ("", "tests", "agent", "operator", "iptables"))
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"perf.control.{module}", *words],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def answer(self) -> Facts:
        """Return the next answer; what else is written there is passed over.

        Raises:
            SideError: the process ended.
        """
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                found: Facts = msgspec.json.decode(line)
                return found
        raise SideError(f"{self._module} ended with status {self._process.wait()}")

    def ask(self, command: str) -> Facts:
        """Send a command and return its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self.answer()

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            _close(stream)


def _close(stream: IO[str] | None) -> None:
    if stream is not None:
        stream.close()


def main(words: Sequence[str]) -> int:
    """Carry out one command."""
    options = _parser().parse_args(words)
    plan = Plan(services=options.services, nodes=options.nodes, seconds=options.seconds, rate=options.rate)
    try:
        result = measure(plan)
    except SideError as exc:
        sys.stderr.write(f"perf-control: {exc}\n")
        return 1
    sys.stdout.write(table(result))
    places = [options.json] if options.json else []
    if options.save:
        places.append(RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-{result['commit'] or 'unknown'}.json")
    for path in places:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
        sys.stdout.write(f"written: {path}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    plan = Plan()
    parser = argparse.ArgumentParser(prog="python -m perf.control", description=__doc__.partition(":")[0])
    parser.add_argument("--services", type=int, default=plan.services, help="with four endpoints each")
    parser.add_argument("--nodes", type=int, default=plan.nodes)
    parser.add_argument("--seconds", type=float, default=plan.seconds, help="of changes")
    parser.add_argument("--rate", type=float, default=plan.rate, help="endpoints replaced per second")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    parser.add_argument("--save", action="store_true", help="write the result to perf/results")
    return parser


def measure(plan: Plan) -> Facts:
    """Run both processes.

    Raises:
        SideError: one of them ended.
    """
    text = msgspec.json.encode(plan).decode()
    with tempfile.TemporaryDirectory() as folder:
        roots = Path(folder) / "roots.pem"
        operator = Side("operator_side", text, str(roots))
        sides = [operator]
        try:
            start = operator.answer()
            _say(f"compiled {start['objects']} objects in {start['compile_s']:.1f} s")
            agents = Side("agents_side", text, str(start["port"]), str(roots))
            sides.append(agents)
            nodes = agents.answer()
            _say(f"{plan.nodes} nodes up to date in {nodes['synced_s'].get('max', 0):.1f} s")
            synced = operator.ask("settle")
            changes = operator.ask("change")
        finally:
            for side in sides:
                side.end()
    return {
        "measured": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        "commit": _commit(),
        "machine": _machine(),
        "plan": msgspec.to_builtins(plan),
        "start": start,
        "nodes": nodes,
        "synced": synced,
        "changes": changes,
    }


def _say(text: str) -> None:
    sys.stderr.write(f"perf-control: {text}\n")


def table(result: Facts) -> str:
    """Return the figures for people."""
    start, nodes, synced, changes = (result[name] for name in ("start", "nodes", "synced", "changes"))
    lag, sync = changes["lag_s"], nodes["synced_s"]
    met = "met" if lag.get("p99", 99.0) < LAG_BAR_S else "missed"
    rows = [
        ("objects", f"{start['objects']}"),
        ("first compilation", f"{start['compile_s']:.1f} s"),
        ("memory: compiled / all nodes connected / after changes",
         f"{start['rss_mib']:.0f} / {synced['rss_mib']:.0f} / {changes['rss_mib']:.0f} MiB"),
        ("initial sync of all nodes at once, p50 / last", f"{sync['p50']:.1f} / {sync['max']:.1f} s"),
        ("initial sync, bytes and resources per node",
         f"{nodes['bytes_per_node'] / 1e6:.2f} MB, {nodes['resources_per_node']:.0f}"),
        ("endpoints replaced per second", f"{changes['changes'] / changes['seconds']:.0f}"),
        ("lag from change to in force on a node, p50 / p99 / most",
         f"{lag['p50']:.2f} / {lag['p99']:.2f} / {lag['max']:.2f} s (bar p99 < {LAG_BAR_S:.0f} s: {met})"),
        ("bytes per node and second of changes", f"{changes['sent_kib_per_node_per_s']:.1f} KiB"),
        ("a round of compiling, p50 / p99",
         f"{changes['compile_s']['p50'] * 1e3:.0f} / {changes['compile_s']['p99'] * 1e3:.0f} ms"),
        ("operator's CPU while changing", f"{changes['cpu_share'] * 100:.0f} % of a core"),
    ]  # fmt: skip
    width = max(len(name) for name, _ in rows)
    return "".join(f"{name:<{width}}  {value}\n" for name, value in rows)


def _machine() -> Facts:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {
        "cpu": model or platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "load_average": round(os.getloadavg()[0], 2),
    }


def _commit() -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
