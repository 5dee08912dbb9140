"""What was decided, as values: participles that can be compared, logged and explained.

Theory: forwarding functions take a `Permit`, and only `weft_core.policy` makes one. A path that forgot to authorise is
therefore not expressible without importing the maker, which the house tests forbid outside that room.
"""

from dataclasses import dataclass
from typing import Final, Literal

from weft_contract.resources.policy import RateLimit

DenyReason = Literal[
    "mtls_required",
    "denied_by_rule",
    "no_allow_rule_matched",
    "policy_invalid",
    "l7_rule_on_opaque_connection",
    "rate_limited",
    "not_captured_workload",
    "match_error",
]
"""Closed set; metric label and log field."""


@dataclass(frozen=True, slots=True)
class Permit:
    """Proof that policy let something pass; `policy` and `rule` say what let it (empty: no policy applied)."""

    policy: str = ""
    rule: str = ""


@dataclass(frozen=True, slots=True)
class LimitRef:
    """A bucket to take one token from: `key` is unique per node and stable over reloads of an unchanged limit."""

    key: str
    limit: RateLimit
    policy: str
    rule: str


@dataclass(frozen=True, slots=True)
class Allowed:
    """May pass, if every bucket of `limits` and one bucket of `any_of` (where there is any) has a token."""

    permit: Permit
    limits: tuple[LimitRef, ...] = ()
    """RateLimitPolicy buckets: all are needed."""
    any_of: tuple[LimitRef, ...] = ()
    """Rated ALLOW rules that matched when no unrated one did: one of them must have a token, tried in order."""
    audits: tuple[str, ...] = ()
    """AUDIT policies that matched."""
    dry_run_denial: str = ""
    """Policy in dry-run mode that would have denied; empty: none."""


@dataclass(frozen=True, slots=True)
class Denied:
    """May not pass. Everything a human needs at 3 a.m.: which policy, which rule, why."""

    reason: DenyReason
    policy: str = ""
    """`namespace/name`; where no ALLOW rule matched, the policy that came nearest; empty where the mode denies."""
    rule: str = ""
    """Index or name of the rule, as users count: `rules[0]`."""
    message: str = ""
    """The whole sentence."""
    http_status: int = 403
    retry_after_s: int = 0

    @property
    def grpc_status(self) -> int:
        """PERMISSION_DENIED, or RESOURCE_EXHAUSTED for a rate limit."""
        return 8 if self.http_status == 429 else 7


Decision = Allowed | Denied

UNLIMITED: Final[tuple[LimitRef, ...]] = ()
