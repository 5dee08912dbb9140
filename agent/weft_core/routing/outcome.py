"""What routing decides: forward to a Service port, redirect, or refuse. Made when routes are compiled, shared by requests."""

from dataclasses import dataclass
from typing import TypeAlias

from weft_contract.resources.route import Redirect
from weft_core.errors import InvalidBackendError, NoEndpointsError, NoRouteError, UpstreamError
from weft_core.routing.edits import HeaderEdits, PathEdit, RequestEdits

RefusalKind: TypeAlias = type[NoRouteError] | type[InvalidBackendError] | type[NoEndpointsError]


@dataclass(frozen=True, slots=True)
class Forward:
    """Send the request (or connection) to an endpoint of a Service port."""

    service: str
    """`namespace/name` of the backend; look up with `ServiceTable.backend(service, port)`."""
    port: int
    route: str = ""
    """`kind/namespace/name` of the route, `HTTPRoute/shop/web`; empty: no route is attached."""
    rule: str = ""
    """Name of the rule, or `rules[0]`."""
    edits: RequestEdits | None = None
    """Changes of the request; None: it goes on as it is."""
    response_edits: tuple[HeaderEdits, ...] = ()
    """Changes of the response's fields."""
    request_timeout_s: float | None = None
    """Whole exchange, retries included; None: no limit."""
    backend_timeout_s: float | None = None
    """One attempt."""


@dataclass(frozen=True, slots=True)
class RedirectTo:
    """Answer with a redirect; `rewrite.redirect_response` makes the answer."""

    redirect: Redirect
    path: PathEdit | None = None
    """Change of the path in `Location`; None: the request's own."""
    route: str = ""
    rule: str = ""
    response_edits: tuple[HeaderEdits, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """Answer with an error: nothing matched, or what was chosen cannot take it."""

    kind: RefusalKind
    message: str
    route: str = ""
    rule: str = ""

    @property
    def error(self) -> UpstreamError:
        """The fault, made anew each time: a raised exception collects tracebacks, a shared one for ever."""
        return self.kind(self.message)


Outcome: TypeAlias = Forward | RedirectTo | Refused
TcpOutcome: TypeAlias = Forward | Refused
