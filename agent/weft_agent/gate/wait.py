"""`weft-agent gate`: waits until the agent says, through this pod's capture, that the pod is ready; ends with 0 then only.

Theory: a question is a TCP connection to an address that nobody has. While the pod is not captured its first packet leaves
and is lost, so a connection says nothing by not coming about; the kernel would repeat that packet after a second. So a fresh
attempt begins every `FIRST_INTERVAL_S`, over each family that has a route, and the older ones stay open for a while: whichever
gets the right answer first opens the gate. Everything else (silence, reset, another line, another pod's uid) changes only what
is told to people. There is no way out but the answer and SIGTERM, which a process that is pid 1 of its container has to catch
to obey at all.

Exit statuses: 0 the pod is captured, 78 the gate was started without the pod's uid, 143 SIGTERM.
"""

import errno
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from weft_contract.gate import (
    MAX_LINE_BYTES,
    POD_UID_VARIABLE,
    is_ready,
    question_line,
    waiting_reason,
)
from weft_contract.ports import GATE_ADDRESS_V4, GATE_ADDRESS_V6, HEALTH_PORT

EXIT_CONFIG = 78
EXIT_TERMINATED = 143

FIRST_INTERVAL_S = 0.1
"""Between attempts while the pod is young: what the gate adds to a pod's start is half of it on average."""
LATER_INTERVAL_S = 0.5
YOUNG_S = 5.0
ATTEMPT_S = 5.0
"""An attempt that got no answer for so long is given up; a node that is short of CPU may need seconds."""
ATTEMPTS = 16
"""Kept open at once; the oldest makes room."""
TELL_S = 10.0

ADDRESSES: tuple[tuple[socket.AddressFamily, str], ...] = (
    (socket.AF_INET, GATE_ADDRESS_V4),
    (socket.AF_INET6, GATE_ADDRESS_V6),
)
_UID_CHARACTERS = frozenset("0123456789abcdefABCDEF-")
_LONGEST_UID = 64


class Attempt:
    """One connection that asks once."""

    def __init__(self, sock: socket.socket, uid: str, began_s: float) -> None:
        self.sock = sock
        self.began_s = began_s
        self._uid = uid
        self._asked = False
        self._answer = b""

    def events(self) -> int:
        """Return what to wait for."""
        return select.POLLIN if self._asked else select.POLLOUT

    def step(self) -> bytes | None:
        """Go on; return the answer once it is whole, None until then.

        Raises:
            OSError: there will be none.
        """
        if not self._asked:
            failure = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if failure:
                raise OSError(failure, os.strerror(failure))
            self.sock.send(question_line(self._uid))
            self._asked = True
            return None
        data = self.sock.recv(MAX_LINE_BYTES)
        self._answer += data
        if not data or b"\n" in data or len(self._answer) > MAX_LINE_BYTES:
            return self._answer
        return None


class Gate:
    """Asks until the right answer comes.

    Args:
        uid: of this pod.
        addresses: family and address to ask at.
        port: to ask at.
        tell: takes one line for people.
    """

    def __init__(
        self,
        uid: str,
        addresses: Iterable[tuple[socket.AddressFamily, str]] = ADDRESSES,
        port: int = HEALTH_PORT,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._uid = uid
        self._addresses = tuple(addresses)
        self._port = port
        self._tell = tell or tell_stderr
        self._attempts: dict[int, Attempt] = {}
        self._poll = select.poll()
        self._seen = ""
        """What the last attempt that ended came to."""

    def wait(self) -> float:
        """Return when the pod is captured, with the seconds that took."""
        began_s = now = time.monotonic()
        next_attempt_s, next_line_s = now, now + TELL_S
        while True:
            if now >= next_attempt_s:
                self._begin(now)
                next_attempt_s = now + (FIRST_INTERVAL_S if now - began_s < YOUNG_S else LATER_INTERVAL_S)
            if self._step(next_attempt_s - now):
                return time.monotonic() - began_s
            now = time.monotonic()
            if now >= next_line_s:
                next_line_s += TELL_S
                self._tell(self._explanation(now - began_s))
                self._seen = ""  # an agent that has gone since must not be quoted again

    def close(self) -> None:
        """Give up every attempt."""
        for fd in list(self._attempts):
            self._drop(fd)

    # -- attempts -------------------------------------------------------------------------------------------------

    def _begin(self, now: float) -> None:
        """Ask anew over each family; make room first."""
        for fd, attempt in list(self._attempts.items()):
            if now - attempt.began_s > ATTEMPT_S or len(self._attempts) > ATTEMPTS - len(self._addresses):
                self._drop(fd)
        unreachable = 0
        for family, address in self._addresses:
            try:
                self._connect(family, address, now)
            except OSError as exc:  # no such family here, no route, no descriptor: the other one, or later
                unreachable += 1
                if unreachable == len(self._addresses):
                    self._seen = f"this pod cannot send there: {exc.strerror}"

    def _connect(self, family: socket.AddressFamily, address: str, now: float) -> None:
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            number = sock.connect_ex((address, self._port))
            if number not in (0, errno.EINPROGRESS):
                raise OSError(number, os.strerror(number))
        except OSError:
            sock.close()
            raise
        attempt = Attempt(sock, self._uid, now)
        self._attempts[sock.fileno()] = attempt
        self._poll.register(sock.fileno(), attempt.events())

    def _step(self, wait_s: float) -> bool:
        """Let attempts go on for at most so long; True: the answer is there."""
        for fd, _ in self._poll.poll(max(0.0, wait_s) * 1000):
            attempt = self._attempts.get(fd)
            if attempt is not None and self._advance(fd, attempt):
                return True
        return False

    def _advance(self, fd: int, attempt: Attempt) -> bool:
        try:
            answer = attempt.step()
        except OSError as exc:
            self._seen = f"the connection failed: {exc.strerror}"
            self._drop(fd)
            return False
        if answer is None:
            self._poll.modify(fd, attempt.events())
            return False
        self._drop(fd)
        if is_ready(answer, self._uid):
            return True
        self._seen = self._meaning(answer)
        return False

    def _drop(self, fd: int) -> None:
        self._poll.unregister(fd)
        self._attempts.pop(fd).sock.close()

    # -- words ----------------------------------------------------------------------------------------------------

    def _explanation(self, waited_s: float) -> str:
        where = " or ".join(f"[{a}]:{self._port}" if ":" in a else f"{a}:{self._port}" for _, a in self._addresses)
        seen = self._seen or (
            f"nobody answers at {where}, so this pod is not captured; check that the agent of this node runs and is ready "
            "(kubectl get pods -A -o wide -l app.kubernetes.io/component=agent) and read its log; a pod that shall not be "
            "in the mesh has the label weft.dev/mesh: disabled"
        )
        return f"pod {self._uid} has waited {waited_s:.0f} s for its capture: {seen}"

    @staticmethod
    def _meaning(answer: bytes) -> str:
        reason = waiting_reason(answer)
        if reason:
            return f"the agent says: {_printable(reason)}"
        if not answer:
            return "the agent hung up without an answer; read its log"
        return (
            f"something that is not this pod's agent answers there: {_printable(answer.decode('ascii', 'replace'))!r}"
        )


def _printable(text: str) -> str:
    """Return a stranger's words so that they cannot disturb a terminal or a log."""
    return "".join(character if character.isprintable() else "?" for character in text)


def tell_stderr(line: str) -> None:
    """Write a line where `kubectl logs -c weft-gate` shows it."""
    os.write(2, f"weft-gate: {line}\n".encode())


def _terminate(number: int, frame: object) -> None:
    tell_stderr("told to end before the pod was captured")
    os._exit(EXIT_TERMINATED)


def main(arguments: Sequence[str] = (), environment: Mapping[str, str] = os.environ) -> int:
    """Wait for this pod's capture.

    Args:
        arguments: none are known.
        environment: holds the pod's uid.
    """
    uid = environment.get(POD_UID_VARIABLE, "")
    if arguments or not 0 < len(uid) <= _LONGEST_UID or not _UID_CHARACTERS.issuperset(uid):
        tell_stderr(f"takes no arguments and the pod's uid in {POD_UID_VARIABLE} (downward API, metadata.uid)")
        return EXIT_CONFIG
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, _terminate)
    waited_s = Gate(uid).wait()
    tell_stderr(f"pod {uid} is captured (waited {waited_s:.2f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
