"""Short ways to write routes, Services and endpoints, and hypothesis strategies over a small world of them."""

from hypothesis import strategies as st

from weft_contract.resources import (
    Backend,
    Endpoint,
    Endpoints,
    HttpMatch,
    HttpRule,
    Peers,
    Route,
    RouteParent,
    Service,
    ServicePort,
    TcpRule,
    TextMatch,
)
from weft_contract.resources.route import Filters, NamedMatch
from weft_core.routing import HttpRouter, TcpRouter, compile_route, select_routes

SERVICE = "shop/web"
PRODUCER = RouteParent(service=SERVICE)


def match(
    path: str = "", *, method: str | None = None, headers: tuple[str, ...] = (), query: tuple[str, ...] = ()
) -> HttpMatch:
    """A match from `=/exact`, `/prefix` or `~regex`, and `name=value` pairs."""
    compared = None
    if path.startswith("="):
        compared = TextMatch(value=path[1:])
    elif path.startswith("~"):
        compared = TextMatch(kind="regex", value=path[1:])
    elif path:
        compared = TextMatch(kind="prefix", value=path)
    return HttpMatch(path=compared, method=method, headers=_named(headers), query=_named(query))


def _named(pairs: tuple[str, ...]) -> tuple[NamedMatch, ...]:
    split = [pair.partition("=") for pair in pairs]
    return tuple(NamedMatch(name=name, match=TextMatch(value=value)) for name, _, value in split)


def leads(
    *matches: HttpMatch,
    to: str | tuple[Backend, ...] = "shop/v1",
    name: str = "",
    filters: Filters | None = None,
    request_timeout_s: float | None = None,
) -> HttpRule:
    """A rule that leads to a Service on port 80, or to these backends."""
    backends = to if isinstance(to, tuple) else (Backend(service=to, port=80),)
    return HttpRule(
        matches=matches or (HttpMatch(),),
        backends=backends,
        name=name,
        filters=filters if filters is not None else Filters(),
        request_timeout_s=request_timeout_s,
    )


def http_route(
    *rules: HttpRule,
    name: str = "r",
    created: float = 0.0,
    parents: tuple[RouteParent, ...] = (PRODUCER,),
    invalid: str | None = None,
    namespace: str = "shop",
) -> Route:
    return Route(
        origin="HTTPRoute",
        namespace=namespace,
        name=name,
        parents=parents,
        created_unix_s=created,
        http=rules,
        invalid=invalid,
    )


def tcp_route(
    *backends: Backend, name: str = "t", created: float = 0.0, parents: tuple[RouteParent, ...] = (PRODUCER,)
) -> Route:
    return Route(
        origin="TCPRoute",
        namespace="shop",
        name=name,
        parents=parents,
        created_unix_s=created,
        tcp=(TcpRule(backends=backends),) if backends else (),
    )


def router(*routes: Route, port: int = 80, namespace: str = "shop") -> HttpRouter:
    compiled = [compile_route(route) for route in routes]
    return HttpRouter(SERVICE, port, select_routes(compiled, SERVICE, port, namespace))


def tcp_router(*routes: Route, port: int = 80, namespace: str = "shop") -> TcpRouter:
    compiled = [compile_route(route) for route in routes]
    return TcpRouter(SERVICE, port, select_routes(compiled, SERVICE, port, namespace))


def service(name: str, *addresses: str, ports: tuple[int, ...] = (80,), policy: str | None = None) -> Service:
    return Service(
        namespace="shop",
        name=name,
        addresses=addresses,
        ports=tuple(ServicePort(port=port) for port in ports),
        traffic_policy=policy,
    )


def endpoint(address: str, port: int = 8080, account: str = "", *, ready: bool = True) -> Endpoint:
    identity = f"spiffe://cluster.local/ns/shop/sa/{account}" if account else ""
    return Endpoint(address=address, port=port, identity=identity, ready=ready)


def endpoints(name: str, *members: Endpoint, port: int = 80) -> Endpoints:
    return Endpoints(namespace="shop", service=name, port=port, endpoints=members)


def peers(*members: Endpoint, namespace: str = "shop") -> Peers:
    return Peers(namespace=namespace, endpoints=members)


# -- strategies ---------------------------------------------------------------------------------------------------

PATHS = ("/", "/foo", "/foo/", "/foo/bar", "/foobar")
_paths = st.sampled_from(("", *(f"={path}" for path in PATHS), *PATHS, "~/foo.*", "~/[a-z]+"))
matches = st.builds(
    match,
    _paths,
    method=st.sampled_from((None, None, "GET", "POST")),
    headers=st.sampled_from(((), ("x-a=1",), ("x-a=1", "x-b=2"))),
    query=st.sampled_from(((), ("q=1",), ("q=1", "r=2"))),
)


def _rules(prefix: str) -> st.SearchStrategy[tuple[HttpRule, ...]]:
    def numbered(groups: list[list[HttpMatch]]) -> tuple[HttpRule, ...]:
        return tuple(leads(*group, to=f"{prefix}/{index}") for index, group in enumerate(groups))

    return st.lists(st.lists(matches, min_size=1, max_size=3), min_size=1, max_size=3).map(numbered)


def route_lists() -> st.SearchStrategy[tuple[Route, ...]]:
    """Up to three routes on the same Service; every rule leads to a backend of its own."""

    def one(index: int) -> st.SearchStrategy[Route]:
        rules = _rules(f"r{index}")
        return st.builds(
            lambda made, created: http_route(*made, name=f"r{index}", created=created),
            rules,
            st.sampled_from((0.0, 1.0, 2.0)),
        )

    return st.integers(0, 3).flatmap(lambda count: st.tuples(*(one(index) for index in range(count))))
