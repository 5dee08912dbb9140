"""What an object is told about itself: conditions, at each parent of a route and ancestor of a policy, and the Events that
announce changes.

Belongs here: the shape of a status, and pure functions from what the compiler and the nodes say to what a status should say.
Does not belong here: reading or writing an API server (`weft_operator.controllers`), and deciding anything about an object,
which is the compiler's.
"""

from weft_operator.conditions.ancestor import edited_ancestors
from weft_operator.conditions.condition import Conditions, Wanted, merged, rfc3339
from weft_operator.conditions.model import Condition, ObjectStatus
from weft_operator.conditions.notice import Notice, notices
from weft_operator.conditions.policy import policy_conditions, policy_status
from weft_operator.conditions.progress import Progress, programmed
from weft_operator.conditions.route import edited_parents, parent_conditions
from weft_operator.conditions.target import target_text

__all__ = [
    "Condition",
    "Conditions",
    "Notice",
    "ObjectStatus",
    "Progress",
    "Wanted",
    "edited_ancestors",
    "edited_parents",
    "merged",
    "notices",
    "parent_conditions",
    "policy_conditions",
    "policy_status",
    "programmed",
    "rfc3339",
    "target_text",
]
