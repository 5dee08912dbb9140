"""The keeper's loop: control runs, whatever happens; its workers outlive it; the end of both is orderly.

Theory: the keeper is a *child subreaper*, so workers whose control died become its children and are waited for here. Signals
are taken with `sigtimedwait` and never interrupt anything: one loop, no handler. TERM and INT go to control once and mean
that its next exit is the last; HUP goes to control and means "read the configuration again". Control notices the keeper's
own death by the end of a pipe (`--lifeline`).

Control that exits with 0 was asked to, with 78 cannot work here at all; in every other case it is started again, after
50 ms, then twice as long each time up to 5 s; ten quiet seconds forget the past.

Source: prctl(2) PR_SET_CHILD_SUBREAPER; sysexits(3).
"""

import ctypes
import os
import signal
import time
from collections.abc import Sequence

from weft_agent.keeper.launch import command, spawn

FIRST_BACKOFF_S = 0.05
LONGEST_BACKOFF_S = 5.0
QUIET_S = 10.0
LAST_WORDS_S = 5.0
"""After control is gone for good, workers that are left get so long to end by themselves."""

EXIT_HOPELESS = 78
FINAL_STATUSES = (0, EXIT_HOPELESS)

_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_WAITED_FOR = (*_PASSED_ON, signal.SIGCHLD)


class Keeper:
    """Keeps one program running.

    Args:
        argv: command line of control.
        lifeline: read end of a pipe whose write end only this process has; control's descriptor 3.
        text_log: True logs text instead of JSON.
    """

    def __init__(self, argv: Sequence[str], lifeline: int, *, text_log: bool) -> None:
        self._argv = argv
        self._lifeline = lifeline
        self._text_log = text_log
        self._environment = {k: v for k, v in os.environ.items() if k not in ("SSLKEYLOGFILE", "LD_PRELOAD")}
        self._child = 0
        self._started_s = 0.0
        self._backoff_s = 0.0
        self._stopping = False
        self._status = 0

    def run(self) -> int:
        """Keep control running until it is to end; return the exit status of the agent."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED_FOR)
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        self._start()
        while self._child or not self._over():
            wait_s = self._until_restart()
            info = signal.sigtimedwait(_WAITED_FOR, wait_s) if wait_s > 0.0 else None
            if info is None:
                if not self._child:
                    self._start()
            elif info.si_signo == signal.SIGCHLD:
                self._reap()
            else:
                self._pass_on(info.si_signo)
        self._end_leftovers()
        return self._status

    def _start(self) -> None:
        try:
            self._child = spawn(self._argv, self._environment, (0, 1, 2, self._lifeline), own_group=False)
        except OSError as exc:  # no memory or no descriptors just now: as if it had died at once
            self._log("error", "control-not-started", f'"error":"{exc.strerror}"')
            self._delay()
        self._started_s = time.monotonic()

    def _until_restart(self) -> float:
        if self._child:
            return 3600.0
        return self._started_s + self._backoff_s - time.monotonic()

    def _over(self) -> bool:
        return self._stopping or self._status in FINAL_STATUSES

    def _pass_on(self, number: int) -> None:
        if number != signal.SIGHUP:
            self._stopping = True
            self._status = 128 + number if not self._child else 0
        if self._child:
            os.kill(self._child, number)

    def _reap(self) -> None:
        """Wait for every child that ended; several may hide behind one SIGCHLD."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._child:
                self._control_ended(os.waitstatus_to_exitcode(status))

    def _control_ended(self, code: int) -> None:
        self._child = 0
        self._status = code if code >= 0 else 128 - code
        if self._over():
            return
        if time.monotonic() - self._started_s > QUIET_S:
            self._backoff_s = 0.0
        self._delay()
        self._started_s = time.monotonic()
        self._log("error", "control-died", f'"status":{self._status},"restart_in_s":{self._backoff_s}')

    def _delay(self) -> None:
        self._status = self._status or 1
        self._backoff_s = min(max(self._backoff_s * 2, FIRST_BACKOFF_S), LONGEST_BACKOFF_S)

    def _end_leftovers(self) -> None:
        """Let workers that control left behind drain; in a container they die with us anyway."""
        for pid in _children():
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + LAST_WORDS_S
        while _children() and (left_s := deadline - time.monotonic()) > 0:
            signal.sigtimedwait((signal.SIGCHLD,), left_s)
            self._reap()

    def _log(self, level: str, event: str, fields: str) -> None:
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03}Z"
        line = f'{{"time":"{stamp}","level":"{level}","event":"{event}",{fields},"log":"keeper"}}\n'
        if self._text_log:
            line = f"{stamp} {level:7} {event} {fields}\n"
        os.write(2, line.encode())


def _children() -> list[int]:
    """Return the ids of our living and unreaped children.

    Source: proc_pid_task(5), needs CONFIG_PROC_CHILDREN; without it there is nothing to end.
    """
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def _prctl(option: int, argument: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, argument, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def main(argv: Sequence[str]) -> int:
    """Keep control running.

    Args:
        argv: package paths, control's module, then control's own arguments.
    """
    paths, module, *arguments = argv
    _prctl(_PR_SET_NAME, b"weft-keeper")
    read_end, _write_end = os.pipe()  # the write end stays open as long as this process lives
    text_log = "text" in arguments and arguments[arguments.index("text") - 1] == "--log-format"
    return Keeper(command(paths, module, ["--lifeline", "3", *arguments]), read_end, text_log=text_log).run()
