"""Every default of the data plane in one place, each with a unit, a reason and a source; shown by the CLI and the docs.

The data plane takes a `Limits` value, never a bare constant, so that a test can shrink one and a user can read all.
Values follow the table of the trusted proxies (Envoy edge advice, linkerd2-proxy, ztunnel, HAProxy, nginx, Pingora);
unlike Envoy's, these defaults are the hardened ones.
"""

from dataclasses import dataclass, field, fields
from typing import Any, Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
MINUTES: Final = 60
HOURS: Final = 3600


def _limit(default: float, unit: str, reason: str, source: str) -> Any:
    """Declare one limit; the three texts are its documentation."""
    return field(default=default, metadata={"unit": unit, "reason": reason, "source": source})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits and timeouts of one agent. Names carry their unit."""

    # -- what an application may send us --------------------------------------------------------------------------
    head_bytes: int = _limit(
        32 * KIB, "bytes", "request or response head; 431 beyond", "HAProxy 16 KiB, nginx 32 KiB, Envoy 60 KiB"
    )
    header_count: int = _limit(
        100,
        "fields",
        "cost per field is far above its bytes (HTTP/2 bomb); 431 beyond",
        "Envoy 100, HAProxy 101, hyper 100",
    )
    trailer_count: int = _limit(32, "fields", "trailers are few in every known use", "CVE-2026-49975 family")
    target_bytes: int = _limit(8 * KIB, "bytes", "request target; 414 beyond", "RFC 9110 §4.1 advises at least 8000")
    underscore_names: int = _limit(
        0,
        "0 or 1",
        "1 lets `X_User` through, which CGI-like servers cannot tell from `X-User`; 400 otherwise",
        "Envoy headers_with_underscores_action, nginx underscores_in_headers",
    )
    chunk_line_bytes: int = _limit(256, "bytes", "chunk size and extensions of one chunk", "CVE-2023-39326")
    informational_count: int = _limit(
        8, "responses", "1xx responses before the final one", "backend attacks the agent (threat T25)"
    )
    h2_streams: int = _limit(
        100, "streams", "concurrent streams of one application connection", "HAProxy 100, Envoy edge advice 100"
    )
    h2_stream_window_bytes: int = _limit(
        64 * KIB, "bytes", "receive window per stream offered to applications", "Envoy edge advice"
    )
    h2_connection_window_bytes: int = _limit(
        1 * MIB, "bytes", "receive window per connection offered to applications", "Envoy edge advice"
    )
    hpack_table_bytes: int = _limit(
        4 * KIB, "bytes", "dynamic table both ways; the peer's wish is clamped", "RFC 7541, Envoy"
    )
    h2_continuations: int = _limit(8, "frames", "CONTINUATION frames of one header block", "CVE-2024-27316")
    reset_burst: int = _limit(
        200, "resets", "stream resets in a burst, both directions counted", "CVE-2023-44487, CVE-2025-8671"
    )
    reset_rate: float = _limit(20, "resets per second", "refill of the reset budget", "Envoy 33, nginx 10")
    client_hello_bytes: int = _limit(
        16 * KIB, "bytes", "ClientHello looked at before the tunnel handshake", "Envoy 16 KiB"
    )

    # -- time -----------------------------------------------------------------------------------------------------
    connect_timeout_s: float = _limit(
        1.0, "seconds", "one attempt to connect where another endpoint can be tried", "linkerd2-proxy 1 s"
    )
    connect_patience_s: float = _limit(
        5.0,
        "seconds",
        "connecting to the only or last endpoint: the kernel repeats a lost SYN after 1 and 3 s",
        "tcp(7), tcp_syn_retries; Envoy 5 s",
    )
    head_timeout_s: float = _limit(10.0, "seconds", "from first byte of a head to its last", "linkerd2-proxy 10 s")
    detect_timeout_s: float = _limit(
        0.1,
        "seconds",
        "silence after which a connection of unknown protocol is opaque",
        "server-speaks-first pain, bar of 100 ms",
    )
    http_idle_timeout_s: float = _limit(75.0, "seconds", "HTTP connection without a request", "nginx 75 s")
    pool_idle_timeout_s: float = _limit(
        30.0,
        "seconds",
        "upstream HTTP connection kept for the next request",
        "linkerd2-proxy 3 s, Envoy 1 h; most servers close at 5-75 s",
    )
    stream_idle_timeout_s: float = _limit(
        5.0 * MINUTES, "seconds", "request in progress without a byte either way", "Envoy 5 min"
    )
    tcp_idle_timeout_s: float = _limit(
        1.0 * HOURS, "seconds", "opaque connection without a byte either way", "Envoy 1 h"
    )
    half_close_timeout_s: float = _limit(
        1.0 * HOURS, "seconds", "one direction finished, the other silent", "conntrack's 60 s breaks half-closed peers"
    )
    body_grace_s: float = _limit(20.0, "seconds", "time before the body rate floor applies", "Apache mod_reqtimeout")
    body_rate_bytes_per_s: float = _limit(
        240.0, "bytes per second", "slowest accepted request body", "Kestrel 240 B/s after 5 s"
    )
    handshake_timeout_s: float = _limit(5.0, "seconds", "TLS handshake between agents", "handshakes take milliseconds")
    handshake_threads: int = _limit(
        2,
        "threads",
        "TLS handshakes one worker computes at once",
        "0.7 ms of CPU per side, measured; OpenSSL drops the GIL",
    )
    handshakes_per_source: int = _limit(
        64, "handshakes", "unfinished TLS handshakes of one source address; more are refused", "RUSTSEC-2023-0052"
    )
    handshake_bytes: int = _limit(
        64 * KIB,
        "bytes",
        "read from a peer before its handshake is complete",
        "ClientHello of 16 KiB and a chain of five certificates",
    )
    ping_interval_s: float = _limit(10.0, "seconds", "PING on a tunnel that was silent so long", "ztunnel 10 s")
    ping_timeout_s: float = _limit(
        10.0, "seconds", "PING unanswered: the tunnel is dead", "linkerd2-proxy 3 s, ztunnel 20 s"
    )
    tunnel_idle_timeout_s: float = _limit(5.0 * MINUTES, "seconds", "tunnel without a stream", "ztunnel pool 5 min")
    drain_timeout_s: float = _limit(
        30.0, "seconds", "after SIGTERM, before what is left is cut", "Kubernetes grace 30 s"
    )
    drain_rest_s: float = _limit(
        3.0,
        "seconds",
        "a drain waits so long for the next request of a connection that rests; it is answered with `Connection: close`",
        "clients that do not look before they send lose the request where a resting connection is closed at once",
    )
    stock_wait_s: float = _limit(
        10.0,
        "seconds",
        "a connection waits so long for a socket from control",
        "restart of control takes a second, 5.3 s measured on a machine with twice the work it can do",
    )

    # -- tunnel between agents ------------------------------------------------------------------------------------
    tunnel_streams: int = _limit(
        1000, "streams", "concurrent streams of one tunnel; more open another tunnel", "measured with 128, Envoy 1024"
    )
    tunnel_stream_window_bytes: int = _limit(
        256 * KIB, "bytes", "receive window a stream starts with", "ztunnel 4 MiB; ours grow with the flow"
    )
    tunnel_stream_window_max_bytes: int = _limit(
        4 * MIB, "bytes", "receive window a bulk stream grows to", "ztunnel 4 MiB"
    )
    tunnel_connection_window_bytes: int = _limit(16 * MIB, "bytes", "receive window of a tunnel", "ztunnel 16 MiB")
    tunnel_frame_bytes: int = _limit(1 * MIB, "bytes", "largest frame accepted on a tunnel", "ztunnel 1 MiB")
    tunnel_head_bytes: int = _limit(
        64 * KIB, "bytes", "header block on a tunnel, CONTINUATION included", "a 32 KiB head and our own fields"
    )
    tunnel_glitch_burst: float = _limit(
        1000,
        "frames",
        "frames that move nothing (PING, SETTINGS, PRIORITY, unknown, late ones); GOAWAY at 75 %, closed at 100 %",
        "HAProxy's glitches; Envoy 1000 control frames",
    )
    tunnel_glitch_rate: float = _limit(
        100, "frames per second", "refill of that budget; traffic refills it too", "ours send one per 128 KiB moved"
    )
    tunnel_empty_frames: int = _limit(
        10, "frames", "empty DATA frames in a row", "RUSTSEC-2026-0258: closed after 10; Envoy 1"
    )
    bulk_flow_bytes: int = _limit(
        16 * MIB, "bytes", "a flow that moved so much keeps its tunnel to itself", "head-of-line blocking, measured"
    )

    # -- memory and descriptors -----------------------------------------------------------------------------------
    write_high_bytes: int = _limit(
        256 * KIB, "bytes", "queued for a slow peer before its sender is paused", "Envoy 1 MiB, edge advice 32 KiB"
    )
    write_low_bytes: int = _limit(
        64 * KIB, "bytes", "queue at which a paused sender goes on", "a quarter of the high mark"
    )
    read_buffer_bytes: int = _limit(
        1 * MIB, "bytes", "one shared receive buffer per worker", "measured: 1 MiB equals Envoy on bulk"
    )
    retry_body_bytes: int = _limit(
        64 * KIB, "bytes", "request body kept so that it can be sent again", "linkerd2-proxy 64 KiB"
    )
    connection_share: float = _limit(
        0.5, "of RLIMIT_NOFILE", "descriptors that connections may use", "Envoy: less than half"
    )
    pod_connection_share: float = _limit(
        0.2, "of RLIMIT_NOFILE", "descriptors that one pod's connections may use", "noisy neighbours (threat T24)"
    )
    metric_series: int = _limit(
        10_000,
        "series",
        "label sets per process; the rest is counted as overflow",
        "cardinality explosion (threat T17)",
    )
    access_log_queue: int = _limit(
        4096, "records", "records waiting to be written; more are dropped and counted", "never block the data path"
    )

    # -- control plane --------------------------------------------------------------------------------------------
    operator_connect_timeout_s: float = _limit(
        10.0, "seconds", "connection to the operator, until it has answered", "linkerd2-proxy 1-10 s, gRPC 20 s"
    )
    operator_backoff_first_s: float = _limit(
        0.5, "seconds", "pause after the first failed connection to the operator; doubles", "Envoy xDS 0.5 s"
    )
    operator_backoff_max_s: float = _limit(
        30.0, "seconds", "longest pause between connections to the operator", "Envoy xDS 30 s"
    )
    operator_ping_interval_s: float = _limit(
        10.0, "seconds", "ping on a config stream that was silent so long", "as on tunnels"
    )
    operator_ping_timeout_s: float = _limit(
        10.0, "seconds", "ping unanswered: the operator is gone, connect elsewhere", "as on tunnels"
    )
    degraded_after_s: float = _limit(
        60.0,
        "seconds",
        "without an operator, until endpoints are watched at the API server",
        "kubernetes.md: an operator that restarts or moves is back sooner",
    )
    degraded_jitter_s: float = _limit(
        60.0, "seconds", "most that is added to it at random", "kubernetes.md: not all nodes ask at once"
    )
    snapshot_interval_s: float = _limit(
        5.0, "seconds", "shortest time between two writes of the configuration to disk", "kubernetes.md: debounced 5 s"
    )

    # -- identity -------------------------------------------------------------------------------------------------
    certificate_ttl_s: float = _limit(
        24.0 * HOURS, "seconds", "lifetime of a workload certificate", "Istio, Linkerd 24 h"
    )
    certificate_retry_first_s: float = _limit(
        1.0, "seconds", "pause after the first failed request for a certificate; doubles", "a pod waits for it"
    )
    certificate_retry_max_s: float = _limit(
        60.0, "seconds", "longest pause between requests for a certificate", "twelve hours are left at half life"
    )
    certificate_requests: int = _limit(
        4, "requests", "for certificates that one agent has open at once", "restart storms: 110 pods a node"
    )
    certificate_linger_s: float = _limit(
        300.0, "seconds", "a certificate whose last pod left is kept for the next", "rolling updates, crash loops"
    )
    clock_skew_s: float = _limit(60.0, "seconds", "tolerated difference of clocks", "linkerd check, fault F10")
    chain_length: int = _limit(5, "certificates", "peer chain, leaf included", "RUSTSEC-2023-0052")


DEFAULT_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class LimitInfo:
    """One row of the limits table."""

    name: str
    value: float
    unit: str
    reason: str
    source: str


def describe(limits: Limits = DEFAULT_LIMITS) -> tuple[LimitInfo, ...]:
    """Return every limit with its documentation, in the order of declaration."""
    return tuple(
        LimitInfo(f.name, getattr(limits, f.name), f.metadata["unit"], f.metadata["reason"], f.metadata["source"])
        for f in fields(limits)
    )
