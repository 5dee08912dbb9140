"""Node resources: what one agent enforces, as frozen values. A wire and disk format that the compiler writes.

Belongs here: one file per kind, the document that holds them all (`document`), and nothing that decides.
People never edit these; they write Kubernetes YAML (`weft_contract.objects`) and the compiler turns it into these.
"""

from weft_contract.resources.document import NodeDocument, Resource, resource_key
from weft_contract.resources.node import Node, Telemetry, TrustBundle
from weft_contract.resources.policy import (
    AuthorizationPolicy,
    Condition,
    Operation,
    RateLimit,
    RateLimitPolicy,
    Rule,
    Source,
)
from weft_contract.resources.route import Backend, HttpMatch, HttpRule, Route, RouteParent, TcpRule
from weft_contract.resources.service import Endpoint, Endpoints, Peers, Service, ServicePort
from weft_contract.resources.text import TextMatch
from weft_contract.resources.workload import Capture, InboundPort, PortScope, Probe, Workload

__all__ = [
    "AuthorizationPolicy",
    "Backend",
    "Capture",
    "Condition",
    "Endpoint",
    "Endpoints",
    "HttpMatch",
    "HttpRule",
    "InboundPort",
    "Node",
    "NodeDocument",
    "Operation",
    "Peers",
    "PortScope",
    "Probe",
    "RateLimit",
    "RateLimitPolicy",
    "Resource",
    "Route",
    "RouteParent",
    "Rule",
    "Service",
    "ServicePort",
    "Source",
    "TcpRule",
    "Telemetry",
    "TextMatch",
    "TrustBundle",
    "Workload",
    "resource_key",
]
