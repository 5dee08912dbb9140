"""Admission: what the API server asks before it stores an object, and what it is told.

Belongs here: judging objects in the compiler's own words (`validate`), putting the capture gate into pods (`mutate`), and
the HTTP handlers of both. Everything but the handlers is pure.
Does not belong here: writing anything (an admission answer has no side effects), the server that the handlers run in and its
certificate (`weft_operator.server`), and the patching of the webhook configurations (`weft_operator.controllers`).
"""

from weft_operator.webhooks.gate import GateSettings, gate_container
from weft_operator.webhooks.handlers import MUTATE_PATH, VALIDATE_PATH, Webhooks
from weft_operator.webhooks.mutate import mutate
from weft_operator.webhooks.review import Answer, Request, ReviewError, answer_bytes, read_review
from weft_operator.webhooks.validate import Surroundings, validate

__all__ = [
    "MUTATE_PATH",
    "VALIDATE_PATH",
    "Answer",
    "GateSettings",
    "Request",
    "ReviewError",
    "Surroundings",
    "Webhooks",
    "answer_bytes",
    "gate_container",
    "mutate",
    "read_review",
    "validate",
]
