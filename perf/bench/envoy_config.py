"""Envoy's configuration as a contestant: captured like the agent, doing what the scenario asks for and nothing beside it. Pure.

Theory: Envoy stands where the agent stands. Its listener is bound to loopback inside the pod's namespace, transparent and with
the agent's mark, so that the agent's own capture rules lead there; its sockets towards the network carry the same mark and
are transparent, so that they are not captured again. What differs from the agent, all of it in Envoy's favour: one process
serves one pod and one destination; the destination is written in the configuration instead of looked up; the application
sees the pod's own address instead of the client's; identities do not change while it runs.

Peers:

- `envoy-min`: HTTP/1.1, one route, nothing else: the cheapest Envoy that parses HTTP.
- `envoy-rbac`: the same with an RBAC rule on method and path, request ids and a route timeout.
- `envoy-tcp`: `tcp_proxy`.
- `envoy-h1`, `envoy-h2`: a pair, HTTP/1.1 in, HTTP/1.1 or HTTP/2 over mutual TLS between the two, HTTP/1.1 out; the first
  routes by host and path, the second authorises by peer, method and path.
- `envoy-connect`: a pair of `tcp_proxy` and CONNECT termination over HTTP/2 over mutual TLS: many connections in one.
- `envoy-mtls`: a pair of `tcp_proxy` with one mutual TLS connection for each connection, never resumed.

Source: Envoy's API reference v3; performance.md §10 for what makes the strongest Envoy on layer 4.
"""

from dataclasses import dataclass
from typing import Final, Literal, assert_never

from weft_contract.ports import INBOUND_PORT, OUTBOUND_PORT, PROXY_MARK

Json = dict[str, object]
HopPeer = Literal["envoy-min", "envoy-rbac", "envoy-tcp"]
PairPeer = Literal["envoy-h1", "envoy-h2", "envoy-connect", "envoy-mtls"]

PATH_PREFIX: Final = "/api/"
"""What the rule of every contestant allows, with method GET."""

_TYPE: Final = "type.googleapis.com/envoy.extensions."
_SOL_IP, _IP_TRANSPARENT, _SOL_SOCKET, _SO_MARK = 0, 19, 1, 36
_CONNECT_TIMEOUT: Final = "2s"
_PLENTY: Final = 100_000
"""For circuit breakers, which are not what is measured."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Files of one end of a pair, and who the other end must be."""

    key_pair: str
    """PEM with key and chain."""
    roots: str
    peer: str
    """SPIFFE ID."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an Envoy stands and what it forwards to.

    Attributes:
        admin: path of its admin socket.
        address: of the server's pod.
        port: of the application in it.
    """

    admin: str
    address: str
    port: int


def hop_config(peer: HopPeer, place: Place) -> Json:
    """Return the configuration of an Envoy in front of an application."""
    application = _cluster(place)
    match peer:
        case "envoy-min":
            chain = _chain(_http_manager(route=_route("0s"), filters=[_router()]))
        case "envoy-rbac":
            filters = [_rbac(None), _router()]
            chain = _chain(_http_manager(route=_route("15s"), filters=filters, request_id=True))
        case "envoy-tcp":
            chain = _chain(_tcp_proxy())
        case _:
            assert_never(peer)
    return _bootstrap(place, INBOUND_PORT, chain, application)


def pair_configs(
    peer: PairPeer, client: Place, server: Place, client_end: Credentials, server_end: Credentials
) -> tuple[Json, Json]:
    """Return the configurations of the two Envoys between a client and an application.

    Args:
        peer: which pair.
        client: the one in the client's pod; address and port are the server's.
        server: the one in the server's pod.
        client_end: certificates of the first.
        server_end: of the second.
    """
    multiplexed = peer in ("envoy-h2", "envoy-connect")
    wire = _cluster(client, tls=_upstream_tls(client_end, h2=multiplexed), h2=multiplexed, marked=True)
    accept = _downstream_tls(server_end, h2=multiplexed)
    match peer:
        case "envoy-h1" | "envoy-h2":
            out = _chain(_http_manager(route=_route("15s"), filters=[_router()], request_id=True))
            filters = [_rbac(server_end.peer), _router()]
            codec: Codec = "HTTP2" if multiplexed else "HTTP1"
            into = _chain(_http_manager(route=_route("15s"), filters=filters, codec=codec), tls=accept)
        case "envoy-connect":
            out = _chain(_tcp_proxy(tunnel=f"{client.address}:{client.port}"))
            into = _chain(_connect_manager(), tls=accept)
        case "envoy-mtls":
            out = _chain(_tcp_proxy())
            into = _chain(_tcp_proxy(), tls=accept)
        case _:
            assert_never(peer)
    return _bootstrap(client, OUTBOUND_PORT, out, wire), _bootstrap(server, INBOUND_PORT, into, _cluster(server))


# -- listeners and clusters -----------------------------------------------------------------------------------------


def _bootstrap(place: Place, port: int, chain: Json, cluster: Json) -> Json:
    listener: Json = {
        "name": "capture",
        "address": _address("127.0.0.1", port),
        "transparent": True,
        "socket_options": [_mark()],
        "filter_chains": [chain],
    }
    return {
        "admin": {"address": {"pipe": {"path": place.admin}}},
        "static_resources": {"listeners": [listener], "clusters": [cluster]},
    }


def _cluster(place: Place, tls: Json | None = None, *, h2: bool = False, marked: bool = False) -> Json:
    threshold = {"max_connections": _PLENTY, "max_pending_requests": _PLENTY, "max_requests": _PLENTY}
    cluster: Json = {
        "name": "next",
        "type": "STATIC",
        "connect_timeout": _CONNECT_TIMEOUT,
        "circuit_breakers": {"thresholds": [threshold]},
        "load_assignment": {
            "cluster_name": "next",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(place.address, place.port)}}]}],
        },
    }
    if marked:
        transparent = {"level": _SOL_IP, "name": _IP_TRANSPARENT, "int_value": 1, "state": "STATE_PREBIND"}
        cluster["upstream_bind_config"] = {"socket_options": [transparent, _mark()]}
    if tls is not None:
        cluster["transport_socket"] = tls
    if h2:
        name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        options = {"@type": f"type.googleapis.com/{name}", "explicit_http_config": {"http2_protocol_options": {}}}
        cluster["typed_extension_protocol_options"] = {name: options}
    return cluster


def _address(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}


def _mark() -> Json:
    return {"level": _SOL_SOCKET, "name": _SO_MARK, "int_value": PROXY_MARK, "state": "STATE_PREBIND"}


def _chain(network_filter: Json, tls: Json | None = None) -> Json:
    chain: Json = {"filters": [network_filter]}
    if tls is not None:
        chain["transport_socket"] = tls
    return chain


# -- filters --------------------------------------------------------------------------------------------------------

Codec = Literal["HTTP1", "HTTP2"]


def _tcp_proxy(tunnel: str | None = None) -> Json:
    config: Json = {
        "@type": f"{_TYPE}filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "tcp",
        "cluster": "next",
    }
    if tunnel is not None:
        config["tunneling_config"] = {"hostname": tunnel}
    return {"name": "envoy.filters.network.tcp_proxy", "typed_config": config}


def _http_manager(
    *, route: Json, filters: list[Json], codec: Codec = "HTTP1", request_id: bool = False, **more: object
) -> Json:
    config: Json = {
        "@type": f"{_TYPE}filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http",
        "codec_type": codec,
        "generate_request_id": request_id,
        "http_filters": filters,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        **more,
    }
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": config}


def _connect_manager() -> Json:
    terminate = [{"upgrade_type": "CONNECT", "connect_config": {}}]
    route = {"match": {"connect_matcher": {}}, "route": {"cluster": "next", "upgrade_configs": terminate}}
    return _http_manager(
        route=route,
        filters=[_router()],
        codec="HTTP2",
        http2_protocol_options={"allow_connect": True},
        upgrade_configs=[{"upgrade_type": "CONNECT"}],
    )


def _route(timeout: str) -> Json:
    return {"match": {"prefix": "/"}, "route": {"cluster": "next", "timeout": timeout}}


def _router() -> Json:
    config = {"@type": f"{_TYPE}filters.http.router.v3.Router", "suppress_envoy_headers": True}
    return {"name": "envoy.filters.http.router", "typed_config": config}


def _rbac(principal: str | None) -> Json:
    method = {"header": {"name": ":method", "string_match": {"exact": "GET"}}}
    path = {"url_path": {"path": {"prefix": PATH_PREFIX}}}
    anybody: Json = {"any": True}
    peer: Json = {"authenticated": {"principal_name": {"exact": principal}}}
    rule = {
        "permissions": [{"and_rules": {"rules": [method, path]}}],
        "principals": [anybody if principal is None else peer],
    }
    rules = {"action": "ALLOW", "policies": {"clients-may-get": rule}}
    return {
        "name": "envoy.filters.http.rbac",
        "typed_config": {"@type": f"{_TYPE}filters.http.rbac.v3.RBAC", "rules": rules},
    }


# -- TLS ------------------------------------------------------------------------------------------------------------


def _common_tls(ends: Credentials, *, h2: bool) -> Json:
    name = {"san_type": "URI", "matcher": {"exact": ends.peer}}
    return {
        "alpn_protocols": ["h2"] if h2 else [],
        "tls_params": {
            "tls_minimum_protocol_version": "TLSv1_3",
            "tls_maximum_protocol_version": "TLSv1_3",
            "ecdh_curves": ["X25519"],
        },
        "tls_certificates": [
            {"certificate_chain": {"filename": ends.key_pair}, "private_key": {"filename": ends.key_pair}}
        ],
        "validation_context": {"trusted_ca": {"filename": ends.roots}, "match_typed_subject_alt_names": [name]},
    }


def _upstream_tls(ends: Credentials, *, h2: bool) -> Json:
    config = {
        "@type": f"{_TYPE}transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": _common_tls(ends, h2=h2),
        "max_session_keys": 0,
    }
    return {"name": "tls", "typed_config": config}


def _downstream_tls(ends: Credentials, *, h2: bool) -> Json:
    config = {
        "@type": f"{_TYPE}transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": _common_tls(ends, h2=h2),
        "require_client_certificate": True,
        "disable_stateless_session_resumption": True,
        "disable_stateful_session_resumption": True,
    }
    return {"name": "tls", "typed_config": config}
