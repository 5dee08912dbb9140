"""What passes between the nodes: a packet capture, and whether a text can be read in it."""

import os
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from weft_lab.demonstration.stage import StageError

START_TIMEOUT_S: Final = 10.0
END_TIMEOUT_S: Final = 5.0
_PCAP_HEADER_BYTES: Final = 24
_SETTLE_S: Final = 0.3
"""tcpdump hands on what it has after at most this long (`--immediate-mode`, `-U`)."""


class Starter(Protocol):
    """Whoever can start commands on nodes."""

    def start_on_node(self, node: str, *command: str) -> "subprocess.Popen[bytes]":
        """Start a command on a node, as the leader of a process group that all it starts is in."""


@dataclass(frozen=True)
class Wire:
    """What a capture holds."""

    bytes_captured: int
    data: bytes

    def shows(self, text: str) -> int:
        """Return how often a text can be read in it."""
        return self.data.count(text.encode())

    @property
    def empty(self) -> bool:
        """Whether no packet was captured."""
        return self.bytes_captured <= _PCAP_HEADER_BYTES

    @property
    def tls_records(self) -> int:
        """Records of encrypted application data (type 23, TLS 1.2 on the outside, as TLS 1.3 has it)."""
        return self.data.count(b"\x17\x03\x03")


class WireTap:
    """Captures everything on a node's link to the others while the block lasts.

    Args:
        stage: starts tcpdump.
        node: where.
        interface: which link; `any` has those to the pods as well.
        only: what to capture, as the kernel's packet filter has it (pcap-filter(7)).

    Raises:
        StageError: tcpdump is missing or does not start.
    """

    def __init__(self, stage: Starter, node: str, *, interface: str = "eth0", only: str = "tcp") -> None:
        self._what = ("-i", interface, "-U", "--immediate-mode", "-s", "0")
        self._only = only
        self._stage = stage
        self._node = node
        self._file = Path(tempfile.mkdtemp(prefix="weft-demo-")) / "wire.pcap"
        self._process: subprocess.Popen[bytes] | None = None
        self.wire = Wire(0, b"")

    def __enter__(self) -> "WireTap":
        command = ("tcpdump", *self._what, "-w", str(self._file), self._only)
        self._process = self._stage.start_on_node(self._node, *command)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._file.exists() or self._file.stat().st_size < _PCAP_HEADER_BYTES:  # it is there once it listens
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise StageError(f"tcpdump did not start on {self._node}: {self._give_up()}")
            self._pause(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._pause(_SETTLE_S)
        if self._process is not None:
            self._stop(self._process)
        data = self._file.read_bytes() if self._file.exists() else b""
        self.wire = Wire(len(data), data)
        self._clear()

    def _stop(self, process: "subprocess.Popen[bytes]") -> None:
        """End tcpdump and whoever carried it to the node.

        nsenter passes no signal on, and a job in the background of a shell has SIGINT ignored.
        """
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(END_TIMEOUT_S)
                break
        if process.stderr is not None:
            process.stderr.close()

    def _pause(self, seconds: float) -> None:
        try:
            if self._process is not None:
                self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass

    def _give_up(self) -> str:
        """Leave nothing of a capture that did not start; return what was said of it."""
        process = self._process
        if process is None or process.stderr is None:
            return ""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        text = process.communicate()[1].decode(errors="replace")
        self._clear()
        return text.strip()

    def _clear(self) -> None:
        self._file.unlink(missing_ok=True)
        self._file.parent.rmdir()
