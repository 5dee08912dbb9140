"""The system call filter of a worker: an allow-list, assembled to classic BPF by hand, installed with ctypes.

Belongs here: the list (`policy`), the assembler (`bpf`), the installation (`install`).
Does not belong here: the other walls of the sandbox (`weft_agent.worker.privileges`, `weft_agent.worker.mounts`).
"""

from weft_agent.worker.seccomp.bpf import assemble
from weft_agent.worker.seccomp.install import architecture, install
from weft_agent.worker.seccomp.policy import rules

__all__ = ["architecture", "assemble", "install", "rules"]
