"""What the figures depend on beside the code: processor, kernel, versions, and how busy the machine was. No names of hosts."""

import os
import platform
import ssl
import subprocess
import sysconfig
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from perf.bench.programs import HERE, Programs
from perf.bench.stage import Cores, siblings

Facts = dict[str, str | int | float | bool]

_TIMEOUT_S: Final = 20


def facts(programs: Programs, cores: Cores) -> Facts:
    """Return what to know about this machine."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count() or 0,
        "proxies_on_core": cores.proxies,
        "load_on_core": cores.load,
        "cores_are_siblings": cores.load in siblings(cores.proxies),
        "virtual_machine": "hypervisor" in _cpu_line("flags").split(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "python_is_optimised": "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or ""),
        "openssl": ssl.OPENSSL_VERSION,
        "envoy": _first_line([programs.envoy, "--version"]).rpartition("version: ")[2],
        "wrk": _first_line(["wrk", "-v"]).partition(" [")[0],
        "gcc": _first_line(["gcc", "--version"]),
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def commit() -> str:
    """Return the commit that is measured, with `+` where files differ from it; empty outside of a checkout."""
    if not (HERE.parent / ".git").exists():
        return ""
    short = _first_line(["git", "-C", str(HERE.parent), "rev-parse", "--short=10", "HEAD"])
    changed = _first_line(["git", "-C", str(HERE.parent), "status", "--porcelain", "agent", "iptables", "perf"])
    return short + ("+" if changed else "")


def now() -> str:
    """Return date and time, UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M")


def _cpu_model() -> str:
    return _cpu_line("model name") or platform.machine()


def _cpu_line(name: str) -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _first_line(command: list[str]) -> str:
    """Return the first line that is not empty of what a command says; empty: it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[0] if lines else ""
