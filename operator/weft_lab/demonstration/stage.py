"""The stage: a lab of its own, and ways to do in it what a user does: run a command in a pod or on a node."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

Family = Literal[4, 6]
CALL_TIMEOUT_S: Final = 30


class StageError(Exception):
    """The stage could not be set; the message says why."""


@dataclass(frozen=True)
class Answer:
    """What a command came to."""

    status: int
    text: str
    errors: str


class Stage:
    """A lab, driven by the `weft lab` command."""

    def __init__(self, name: str) -> None:
        self.name = name

    def weft(self, *arguments: str, timeout_s: float = CALL_TIMEOUT_S) -> Answer:
        """Run `weft lab …`.

        Raises:
            StageError: it did not end in time.
        """
        command = [sys.executable, "-m", "weft_cli", "lab", *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
        except subprocess.TimeoutExpired as exc:
            raise StageError(f"weft lab {' '.join(arguments)} did not end in {timeout_s:g} s") from exc
        return Answer(done.returncode, done.stdout, done.stderr)

    def must(self, *arguments: str, timeout_s: float = CALL_TIMEOUT_S) -> str:
        """Run `weft lab …` that has to succeed.

        Raises:
            StageError: it did not.
        """
        answer = self.weft(*arguments, timeout_s=timeout_s)
        if answer.status != 0:
            raise StageError(
                f"weft lab {' '.join(arguments)} ended with {answer.status}: {answer.errors or answer.text}"
            )
        return answer.text

    def in_pod(self, pod: str, *command: str, namespace: str = "demo", timeout_s: float = CALL_TIMEOUT_S) -> Answer:
        """Run a command in a pod."""
        return self.weft("exec", "--name", self.name, "-n", namespace, pod, "--", *command, timeout_s=timeout_s)

    def on_node(self, node: str, *command: str) -> Answer:
        """Run a command on a node."""
        return self.weft("node-exec", "--name", self.name, node, "--", *command)

    def start_on_node(self, node: str, *command: str) -> "subprocess.Popen[bytes]":
        """Start a command on a node, as the leader of a process group."""
        full = [sys.executable, "-m", "weft_cli", "lab", "node-exec", "--name", self.name, node, "--", *command]
        return subprocess.Popen(full, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, process_group=0)

    def addresses(self, kind: Literal["pods", "services"], name: str, namespace: str = "demo") -> dict[Family, str]:
        """Return the addresses of a pod or Service by family."""
        text = self.must("get", kind, name, "--name", self.name, "-n", namespace, "-o", "json")
        document = json.loads(text)
        if kind == "pods":
            found = [entry["ip"] for entry in document["status"]["podIPs"]]
        else:
            found = document["spec"]["clusterIPs"]
        return {6 if ":" in address else 4: address for address in found}


def host(address: str) -> str:
    """Return an address as a URL wants it."""
    return f"[{address}]" if ":" in address else address


def curl(*arguments: str) -> Sequence[str]:
    """Return a curl command that never waits long and says status and reason."""
    return ("curl", "-sS", "--max-time", "5", *arguments)
