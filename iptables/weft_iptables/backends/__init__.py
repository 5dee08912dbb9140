"""Captures in the kernel: put there, compared, repaired, taken away.

Belongs here: the capture of one namespace (`capture`), the ways of writing rules (`nft`, `iptables`), what they share
(`rules`, `drift`, `reference`), the choice between them (`choose`).
Does not belong here: which rules there are (`plan`), how the kernel is read (`kernel`).
"""

from weft_iptables.backends.capture import PROC, Applied, Backend, Families
from weft_iptables.backends.choose import BACKENDS, Choice, NoBackendError, Wanted, choose_backend, open_backend, prove
from weft_iptables.backends.drift import Drift
from weft_iptables.backends.rules import BackendName, Count

__all__ = [
    "BACKENDS",
    "PROC",
    "Applied",
    "Backend",
    "BackendName",
    "Choice",
    "Count",
    "Drift",
    "Families",
    "NoBackendError",
    "Wanted",
    "choose_backend",
    "open_backend",
    "prove",
]
