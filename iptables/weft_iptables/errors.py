"""What can go wrong with capture rules: each says what was tried, what refused it, and what to do.

The agent translates these at its border (`weft_core.errors`); this package knows the contract alone.
"""


class IptablesError(Exception):
    """Base of all faults of this package; never raised itself."""


class PlanError(IptablesError, ValueError):
    """The capture resource cannot be turned into rules: a port range or network is not one."""


class NamespaceError(IptablesError):
    """A network namespace that cannot be opened, entered or used."""


class HostNamespaceError(NamespaceError):
    """The path leads to the host's own namespace, which is never captured."""


class ToolMissingError(IptablesError):
    """A program that the back end needs is not installed."""


class KernelRefusedError(IptablesError):
    """The kernel, or the tool that speaks to it, refused rules, sets or routes; nothing of the step was applied."""


class CaptureRefusedError(IptablesError):
    """We refuse to capture here, because the result would be weaker than what was asked for."""


class UnrepairedError(IptablesError):
    """Rules were applied again and the kernel still does not have what the plan says."""
