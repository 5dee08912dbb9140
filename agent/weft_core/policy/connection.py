"""The policy of one connection: answers each request with one dictionary look-up where that is enough.

Theory: three shapes, chosen once when the connection is admitted. If no rule that is left asks about HTTP, the decision is
a constant. If none asks for header fields, decisions are remembered by (method, host, path) under the workload's budget.
Otherwise each request is matched. A connection that may be a probe is asked first whether the request equals the probe.
"""

from weft_contract.resources.workload import Workload
from weft_core.decision import Allowed, Decision, Denied, Permit
from weft_core.facts import ConnectionFacts, RequestFacts
from weft_core.memo import MemoBudget
from weft_core.policy.authorize import Table, authorize
from weft_core.policy.probes import PROBE_RULE, probe_by_grpc, probe_request, probe_without_bytes
from weft_core.policy.steps import Step, Trace


class ConnectionPolicy:
    """What one caller may do at one port; shared by all connections that policy cannot tell apart.

    Args:
        workload: the pod that is called.
        facts: the connection.
        table: what it left of the policies.
        budget: bound of remembered decisions.
        refusal: decision for all that is not a probe, where the mode refuses plaintext; None: rules decide.
    """

    __slots__ = (
        "_budget",
        "_constant",
        "_memo",
        "_opaque",
        "_probe",
        "_refusal",
        "_table",
        "facts",
        "needs_headers",
        "workload",
    )

    def __init__(
        self, workload: Workload, facts: ConnectionFacts, table: Table, budget: MemoBudget, refusal: Denied | None
    ) -> None:
        self.workload = workload
        self.facts = facts
        """Of the connection this was made for; others that share it may differ in what no rule looks at."""
        self._table = table
        self._budget = budget
        self._refusal = refusal
        self._probe = facts.is_probe
        self._memo: dict[tuple[bytes, bytes, bytes], Decision] = {}
        self._opaque: Decision | None = None
        self.needs_headers = refusal is None and table.asks_headers
        """Whether `RequestFacts.headers` must be filled; everything else always must."""
        self._constant: Decision | None = None
        if refusal is None and not self._probe and not table.asks_http:
            self._constant = authorize(table, None)

    def cached(self, method: bytes, host: bytes, path: bytes) -> Decision | None:
        """Return the decision about such a request if it is known already, without the cost of building facts."""
        if self._constant is not None:
            return self._constant
        return self._memo.get((method, host, path))

    def request(self, request: RequestFacts) -> Decision:
        """Decide about a request."""
        if self._constant is not None:
            return self._constant
        key = (request.method, request.host, request.path)
        decision = self._memo.get(key)
        if decision is not None:
            return decision
        decision = self.decide(request)
        if not self._probe and not self.needs_headers:
            self._budget.put(self._memo, key, decision, len(key[0]) + len(key[1]) + len(key[2]))
        return decision

    def tcp(self) -> Decision:
        """Decide about a connection whose bytes are not looked into; it counts as one request for limits."""
        if self._opaque is None:
            self._opaque = self.decide(None)
        return self._opaque

    def silent(self) -> Decision:
        """Decide about a connection on which the client has sent no byte: a TCP probe, or as `tcp`."""
        if self._probe and probe_without_bytes(self.workload, self.facts.destination_port):
            return Allowed(Permit(rule=PROBE_RULE))
        return self.tcp()

    def single_call(self, head: tuple[bytes, bytes] | None) -> Decision:
        """Decide about a connection of HTTP/2 that carries one call: a gRPC probe, or as `tcp`.

        Args:
            head: method and path; None before they are known: whether the connection may be set up to hear them.
        """
        if self._probe and (
            probe_by_grpc(self.workload, self.facts.destination_port)
            if head is None
            else probe_request(self.workload, self.facts.destination_port, *head)
        ):
            return Allowed(Permit(rule=PROBE_RULE))
        return self.tcp()

    def decide(self, request: RequestFacts | None, trace: Trace = None) -> Decision:
        """Decide anew, noting the steps; what `request` and `tcp` remember is what this returns."""
        if self._probe:
            equal = request is not None and self._equals_probe(request)
            if trace is not None:
                trace.append(
                    Step("probe", f"port {self.facts.destination_port}", "matched" if equal else "not_matched")
                )
            if equal:
                return Allowed(Permit(rule=PROBE_RULE))
        if self._refusal is not None:
            return self._refusal
        return authorize(self._table, request, trace)

    def _equals_probe(self, request: RequestFacts) -> bool:
        target = request.path + b"?" + request.query if request.query else request.path
        return probe_request(self.workload, self.facts.destination_port, request.method, target)
