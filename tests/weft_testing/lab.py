"""Lab objects for tests: pods, Services, workloads and views, from the few words that matter; and real labs to test in."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from weft_contract.problems import Problem
from weft_lab.machine.processes import lab_processes
from weft_lab.model import (
    Condition,
    Container,
    Decoded,
    Key,
    LabObject,
    Metadata,
    Node,
    Pod,
    PodSpec,
    PodStatus,
    decode,
)
from weft_lab.model.pod import HostIP
from weft_lab.names import NAMESPACE_PREFIX, NETNS_ROOT, STATE_ROOT
from weft_lab.plan.view import View
from weft_lab.small_program import HOLDER
from weft_operator.compile import regex_error

REPOSITORY = Path(HOLDER).parent


def read(text: str) -> list[Decoded]:
    """Decode all documents of a YAML text."""
    return [decode(document, source="t.yaml", regex=regex_error) for document in yaml.safe_load_all(text)]


def one(text: str) -> LabObject:
    """Decode a text with one sound document."""
    (found,) = read(text)
    assert found.object is not None, found.problems
    return found.object


def problems_of(text: str) -> list[Problem]:
    """Return all problems of a text."""
    return [problem for item in read(text) for problem in item.problems]


def pod(
    name: str,
    *,
    namespace: str = "shop",
    labels: dict[str, str] | None = None,
    node: str = "",
    addresses: Sequence[str] = (),
    ready: bool = False,
    deleted: bool = False,
    phase: str = "Running",
    spec: PodSpec | None = None,
    **fields: object,
) -> Pod:
    """Return a pod with a status that fits the words."""
    made = spec or PodSpec(containers=(Container(name="main", command=("true",)),), node_name=node, **fields)  # type: ignore[arg-type]  # the struct checks its fields itself
    status = PodStatus(
        phase=phase,  # type: ignore[arg-type]  # tests pass one of the words
        conditions=(Condition(type="Ready", status="True" if ready else "False"),),
        pod_ip=addresses[0] if addresses else "",
        pod_ips=tuple(HostIP(ip=text) for text in addresses),
    )
    metadata = Metadata(
        name=name,
        namespace=namespace,
        labels=labels or {},
        uid=f"uid-{namespace}-{name}",
        deletion_timestamp="2026-01-01T00:00:00Z" if deleted else None,
    )
    return Pod(metadata=metadata, spec=made, status=status)


def node(name: str, **labels: str) -> Node:
    """Return a node; its host name label is set."""
    own = {"kubernetes.io/hostname": name} | labels
    return Node(metadata=Metadata(name=name, labels=own))


def view(objects: Iterable[LabObject]) -> View:
    """Return a view of objects, keyed by their types' names."""
    return View({key_of(item): item for item in objects})


def key_of(item: LabObject) -> Key:
    """Return the key of an object of the lab's own kinds."""
    return Key(type(item).__name__, item.metadata.namespace, item.metadata.name)


# -- real labs ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command did."""

    status: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class LiveLab:
    """A lab on this machine, used as people use it: by the command line."""

    name: str

    def weft(self, *words: str, text: str | None = None, timeout_s: float = 60.0) -> Ran:
        """Run `weft lab WORDS --name NAME`; options of the lab go before `--`."""
        cut = words.index("--") if "--" in words else len(words)
        command = [*words[:cut], "--name", self.name, *words[cut:]]
        return run_weft("lab", *command, text=text, timeout_s=timeout_s)

    def ok(self, *words: str, text: str | None = None, timeout_s: float = 60.0) -> str:
        """Run a command that must succeed, and return what it printed."""
        ran = self.weft(*words, text=text, timeout_s=timeout_s)
        assert ran.status == 0, (
            f"weft lab {' '.join(words)} ended with {ran.status}\n{ran.out}\n{ran.err}\n{self.dump()}"
        )
        return ran.out

    def apply(self, text: str) -> str:
        """Apply YAML that must be taken."""
        return self.ok("apply", "-f", "-", text=text)

    def document(self, kind: str, name: str, namespace: str = "default") -> dict[str, object]:
        """Return an object."""
        found: dict[str, object] = json.loads(self.ok("get", kind, name, "-n", namespace, "-o", "json"))
        return found

    def exec(self, pod: str, *words: str, namespace: str = "default", container: str | None = None) -> Ran:
        """Run a command in a pod."""
        chosen = ["-c", container] if container else []
        return self.weft("exec", "-n", namespace, *chosen, pod, "--", *words)

    def dump(self) -> str:
        """Return what helps to understand a failure."""
        parts = [
            run_weft("lab", *words, "--name", self.name) for words in (("status",), ("get", "pods", "-A", "-o", "wide"))
        ]
        log = STATE_ROOT / self.name / "daemon.log"
        tail = log.read_text(errors="replace")[-4000:] if log.exists() else "no daemon.log"
        return "\n".join([*(part.out + part.err for part in parts), tail])


def run_weft(*words: str, text: str | None = None, timeout_s: float = 60.0, **variables: str) -> Ran:
    """Run `weft WORDS` as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "weft_cli", *words],
        input=text or "",
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        cwd="/",
        env={**os.environ, "PYTHONPATH": python_path(), **variables},
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def python_path() -> str:
    """Return the folders of this checkout's packages."""
    return os.pathsep.join(str(REPOSITORY / holder) for holder in ("agent", "operator", "iptables"))


def traces(lab: str) -> list[str]:
    """Return everything on this machine that belongs to a lab: namespaces, mounts, files, processes."""
    spaces = [name for name in _listing(NETNS_ROOT) if name.startswith(f"{NAMESPACE_PREFIX}.{lab}.")]
    mounts = [
        line.split()[4]
        for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
        if str(STATE_ROOT / lab) in line or f"{NAMESPACE_PREFIX}.{lab}." in line or f"weft-lab-{lab} " in line
    ]
    files = [str(STATE_ROOT / lab)] if (STATE_ROOT / lab).exists() else []
    processes = [f"process {pid}" for pid in lab_processes(lab, spaces)]
    return [*spaces, *mounts, *files, *processes]


def _listing(directory: Path) -> list[str]:
    return os.listdir(directory) if directory.exists() else []
