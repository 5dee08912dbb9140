"""`weft-agent check`: everything wrong with the files an agent would read and the host it would run on, before it runs.

Exit statuses: 0 nothing (warnings aside), 1 problems were found, 2 there was nothing to look at.
"""

import os
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from weft_agent.control.config_files import parse
from weft_agent.tls.identity_files import load_directory
from weft_agent.worker import seccomp
from weft_contract.problems import ContractError
from weft_iptables.backends import choose_backend
from weft_iptables.errors import IptablesError

EXIT_FOUND: Final = 1
EXIT_USAGE: Final = 2
SOFT_DESCRIPTORS: Final = 4096
"""Half of them serve 1 000 connections through the agent."""

CAPABILITIES: Final = {
    "CAP_SYS_ADMIN": (21, "entering pods' namespaces, the workers' empty root"),
    "CAP_SYS_CHROOT": (18, "the workers' empty root, where pivot_root is forbidden"),
    "CAP_NET_ADMIN": (12, "capture rules"),
    "CAP_NET_RAW": (13, "marks and foreign addresses on sockets"),
    "CAP_SETUID": (7, "workers that are nobody"),
    "CAP_SETGID": (6, "workers that are nobody"),
    "CAP_SETPCAP": (8, "workers that can never gain a capability"),
    "CAP_KILL": (5, "replacing a stuck worker"),
}
"""Number and purpose of each capability that control needs."""


def main(config: str, node: str | None, identity: str | None) -> int:
    """Print every problem.

    Args:
        config: directory with `<node>.json` files.
        node: only this one's; None: all of them.
        identity: identity directory; None: it is not looked at.
    """
    directory = Path(config)
    files = [directory / f"{node}.json"] if node else sorted(directory.glob("*.json"))
    if not directory.is_dir() or not files:
        sys.stderr.write(f"weft-agent check: {directory} holds no node's file; write them with `weft compile -o DIR`\n")
        return EXIT_USAGE
    problems = [*_files(files), *([] if identity is None else _identities(Path(identity))), *host_problems()]
    for problem in problems:
        sys.stdout.write(f"{problem}\n")
    summary = f"{len(problems)} problems" if problems else "no problems"
    sys.stdout.write(f"{summary} in {len(files)} files and on this host\n")
    return EXIT_FOUND if problems else 0


def _files(files: Iterable[Path]) -> Iterator[str]:
    for path in files:
        try:
            parse(path.read_bytes(), str(path), path.stem, "file")
        except OSError as exc:
            yield f"{path}: cannot be read: {exc.strerror}"
        except ContractError as exc:
            yield from map(str, exc.problems)


def _identities(directory: Path) -> Iterator[str]:
    for problem in load_directory(directory, time.time()).problems:
        if not problem.warning:
            yield str(problem)


def host_problems() -> Iterator[str]:
    """Yield what this host lacks."""
    if os.geteuid() != 0:
        yield "host: not root; the agent must be started as root, its workers give it up"
        return
    for name, purpose in missing_capabilities():
        yield f"host: {name} is missing, needed for {purpose}; add it to the container's capabilities"
    if seccomp.architecture() is None:
        yield f"host: no system call filter for {os.uname().machine}; workers run on x86_64 and aarch64"
    if not hasattr(os, "pidfd_open") or not _kernel_at_least(5, 9):
        yield f"host: kernel {os.uname().release} is too old; 5.9 or newer is needed (pidfd, close_range)"
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < SOFT_DESCRIPTORS:
        yield f"host: only {hard} descriptors per process (RLIMIT_NOFILE); give it {SOFT_DESCRIPTORS} or more"
    try:
        choose_backend("auto")
    except IptablesError as exc:
        yield f"host: capture rules cannot be written: {exc}"


def missing_capabilities() -> Iterator[tuple[str, str]]:
    """Yield capabilities that this process lacks, with what they are for."""
    effective = 0
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            effective = int(line.split()[1], 16)
    for name, (number, purpose) in CAPABILITIES.items():
        if not effective >> number & 1:
            yield name, purpose


def _kernel_at_least(major: int, minor: int) -> bool:
    numbers = os.uname().release.split(".")
    return (int(numbers[0]), int("".join(filter(str.isdigit, numbers[1])) or 0)) >= (major, minor)
