"""The capture gate's other half in a worker: a question at the gate address, answered with control's word.

Theory: that a question arrives here proves that the pod's outbound rules work, for nothing else leads to this listener. The
rest (all rules, every worker's configuration, the certificate) is known to control, which is asked anew for each question, so
the answer is true at the moment it is given. Questions that come while control is being asked share its word, and a word is
good for `FRESH_S`: a pod cannot make control work more than that often. While control is away nobody is answered, and the
next control is asked again.

Source: `weft_contract.gate` has the lines and what the asking side makes of them.
"""

from collections.abc import Callable
from typing import Final

from weft_agent.channel.messages import AskGate, GateWord
from weft_agent.reactor import OUTSIDE, Buffer, Reactor, TcpEnd
from weft_contract.gate import MAX_LINE_BYTES, question_uid, ready_line, waiting_line
from weft_contract.ports import GATE_ADDRESS_V4, GATE_ADDRESS_V6, HEALTH_PORT
from weft_core.errors import WeftError

GATES: Final = frozenset({(GATE_ADDRESS_V4, HEALTH_PORT), (GATE_ADDRESS_V6, HEALTH_PORT)})
FRESH_S: Final = 0.05
PATIENCE_S: Final = 10.0
"""An asker that is silent, or that cannot be answered, for so long is let go."""
QUESTIONS_MAX: Final = 64
"""Open at once for one pod; the asking side keeps 16."""


class GateDesk:
    """Answers one pod's gate.

    Args:
        uid: of the pod.
        reactor: the worker's loop.
        ask: sends to control.
    """

    __slots__ = ("_ask", "_asked", "_open", "_reactor", "_uid", "_waiting", "_word", "_word_s")

    def __init__(self, uid: str, reactor: Reactor, ask: Callable[[AskGate], None]) -> None:
        self._uid = uid
        self._reactor = reactor
        self._ask = ask
        self._asked = False
        self._open: set[Question] = set()
        self._waiting: set[Question] = set()
        """Those that have asked and wait for control's word."""
        self._word = ""
        self._word_s = float("-inf")

    def accepted(self, end: TcpEnd) -> None:
        """Take one connection to the gate address."""
        if len(self._open) >= QUESTIONS_MAX:
            end.abort()
            return
        question = Question(self._reactor, end, self._questioned, self._over)
        self._open.add(question)
        end.start(question)

    def word(self, word: GateWord) -> None:
        """Take control's word and answer everybody who waits for it."""
        self._asked = False
        self._word, self._word_s = word.waiting, self._reactor.now
        for question in list(self._waiting):
            self._answer(question)

    def reorder(self) -> None:
        """Ask the next control for what the last one still owed."""
        self._asked = False
        if self._waiting:
            self._ask_control()

    def close(self) -> None:
        """Hang up on everybody: the pod is gone."""
        for question in list(self._open):
            question.abort()

    def _questioned(self, question: "Question", uid: str) -> None:
        if uid != self._uid:
            question.answer(waiting_line(f"this is the gate of pod {self._uid}"))
        elif self._reactor.now - self._word_s < FRESH_S:
            self._answer(question)
        else:
            self._waiting.add(question)
            if not self._asked:
                self._ask_control()

    def _ask_control(self) -> None:
        self._asked = True
        self._ask(AskGate(uid=self._uid))

    def _answer(self, question: "Question") -> None:
        question.answer(waiting_line(self._word) if self._word else ready_line(self._uid))

    def _over(self, question: "Question") -> None:
        self._open.discard(question)
        self._waiting.discard(question)


class Question:
    """Receiver of one connection: a line that asks, an answer, the end."""

    __slots__ = ("__weakref__", "_end", "_line", "_over", "_questioned", "_reactor", "deadline", "wheel_at")

    def __init__(
        self,
        reactor: Reactor,
        end: TcpEnd,
        questioned: Callable[["Question", str], None],
        over: Callable[["Question"], None],
    ) -> None:
        self._reactor = reactor
        self._end = end
        self._questioned = questioned
        self._over = over
        self._line = b""
        self.wheel_at = OUTSIDE
        self.deadline = reactor.now + PATIENCE_S
        reactor.watch(self)

    def answer(self, line: bytes) -> None:
        """Say it and hang up."""
        self._done()
        self._end.write(line)
        self._end.close()

    def abort(self) -> None:
        """Hang up without an answer."""
        self._done()
        self._end.abort()

    def feed(self, data: Buffer) -> None:
        """Collect the line; what comes behind it, or is longer, is no question."""
        self._line += bytes(data[: MAX_LINE_BYTES + 1])
        if b"\n" in self._line or len(self._line) > MAX_LINE_BYTES:
            self._end.pause()
            uid = question_uid(self._line)
            if uid:
                self._questioned(self, uid)
            else:
                self.abort()

    def eof(self) -> None:
        """Let an asker go that hung up, or that finished without a question."""
        self.abort()

    def drained(self) -> None:
        """Nothing waits for room."""

    def lost(self, error: WeftError | None) -> None:
        """Forget an asker that is gone."""
        self._done()

    def expire(self) -> None:
        """Let go of an asker that nobody could answer."""
        self.abort()

    def _done(self) -> None:
        self._reactor.unwatch(self)
        self._over(self)
