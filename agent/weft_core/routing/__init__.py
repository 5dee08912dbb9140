"""Where a request or connection goes: Services by original destination, Gateway API routes, weights, rewrites, redirects.

Belongs here: the service table and its changes, compiling routes, choosing a backend, and the edits that filters ask for,
as pure functions on bytes.
Does not belong here: which endpoint of a backend (`weft_core.balance`), who may (`weft_core.policy`), any connection.
"""

from weft_core.routing.compile import CompiledRoute, broken_route, compile_route
from weft_core.routing.outcome import Forward, Outcome, RedirectTo, Refused, TcpOutcome
from weft_core.routing.rewrite import RedirectResponse, apply_request, apply_response, redirect_response
from weft_core.routing.router import HttpRouter, TcpRouter, select_routes
from weft_core.routing.service_changes import Network, canonical_address, change_services, check_network
from weft_core.routing.services import PodEntry, ServiceEntry, ServiceTable, UndeclaredPort

__all__ = [
    "CompiledRoute",
    "Forward",
    "HttpRouter",
    "Network",
    "Outcome",
    "PodEntry",
    "RedirectResponse",
    "RedirectTo",
    "Refused",
    "ServiceEntry",
    "ServiceTable",
    "TcpOutcome",
    "TcpRouter",
    "UndeclaredPort",
    "apply_request",
    "apply_response",
    "broken_route",
    "canonical_address",
    "change_services",
    "check_network",
    "compile_route",
    "redirect_response",
    "select_routes",
]
