"""Who may do what at a workload: mTLS mode, AuthorizationPolicy, RateLimitPolicy and probes, compiled and decided.

Belongs here: compiling these resources into immutable tables, deciding about connections and requests with them, saying
why, and the token bucket step. This is the only room that makes a `Permit`.
Does not belong here: routing, the buckets themselves (shared memory, in the shell), what is told to the client.
"""

from weft_core.policy.connection import ConnectionPolicy
from weft_core.policy.explain import Explanation, explain
from weft_core.policy.inbound import InboundPolicy, assemble_inbound, compile_inbound
from weft_core.policy.policies import CompiledLimit, CompiledPolicy, compile_limit, compile_policy
from weft_core.policy.probes import (
    probe_by_grpc,
    probe_bytes_expected,
    probe_connection,
    probe_request,
    probe_without_bytes,
)
from weft_core.policy.ratelimit import gcra, rate_limited, spend
from weft_core.policy.steps import Step

__all__ = [
    "CompiledLimit",
    "CompiledPolicy",
    "ConnectionPolicy",
    "Explanation",
    "InboundPolicy",
    "Step",
    "assemble_inbound",
    "compile_inbound",
    "compile_limit",
    "compile_policy",
    "explain",
    "gcra",
    "probe_by_grpc",
    "probe_bytes_expected",
    "probe_connection",
    "probe_request",
    "probe_without_bytes",
    "rate_limited",
    "spend",
]
