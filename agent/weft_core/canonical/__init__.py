"""The one reading of request targets and hosts that router, policy, log and upstream share.

Belongs here: turning a target into its canonical path and the bytes that are forwarded; turning a Host into a name that
can be compared; refusing what two parsers would read differently.
Does not belong here: the message around them (`weft_core.http1`, the tunnel), routes, policies.
"""

from weft_core.canonical.host import canonical_host
from weft_core.canonical.refusals import RULES, RuleName
from weft_core.canonical.target import Form, Target, canonical_target

__all__ = ["RULES", "Form", "RuleName", "Target", "canonical_host", "canonical_target"]
