"""What is measured: scenarios with stable names, the load of each, and who is compared. Pure."""

from dataclasses import dataclass
from typing import Final, Literal, get_args

from perf.bench.envoy_config import HopPeer, PairPeer

Peer = HopPeer | PairPeer
Contestant = Literal["weft"] | Peer
Path = Literal["hop", "mesh"]
Load = Literal["http", "pingpong", "bulk", "connect", "handshake"]
Unit = Literal["request", "GiB", "connection", "handshake"]

SMALL_PORT: Final = 8080
OPAQUE_PORT: Final = 8081
"""The same HTTP server, declared to be TCP."""
LARGE_PORT: Final = 8082
ECHO_PORTS: Final = (7000, 7003)
SINK_PORT: Final = 7100
FRESH_PORTS_FROM: Final = 20_000
"""Echo ports that no tunnel leads to yet; each is used once."""

SMALL_BYTES: Final = 13
LARGE_BYTES: Final = 100 * 1024
MESSAGE_BYTES: Final = 64

LEVELS: Final = (1, 32, 128)
HANDSHAKES_PER_RUN: Final = 200
IDLE_CONNECTIONS: Final = 1000
IDLE_TUNNELS: Final = 200
GIB: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Scenario:
    """One comparison."""

    name: str
    title: str
    path: Path
    """`hop`: one agent, plaintext from a client outside of the mesh. `mesh`: two agents, mutual TLS between them."""
    load: Load
    port: int
    peers: tuple[Peer, ...]
    unit: Unit = "request"
    levels: tuple[int, ...] = LEVELS
    body_bytes: int = 0
    ports: int = 1
    """How many ports from `port` on are used in turn."""


SCENARIOS: Final = (
    Scenario(
        name="http_hop",
        title="HTTP/1.1, 13 B answers, through one agent, with a rule on method and path",
        path="hop",
        load="http",
        port=SMALL_PORT,
        peers=("envoy-min", "envoy-rbac"),
        body_bytes=SMALL_BYTES,
    ),
    Scenario(
        name="http_hop_100k",
        title="the same with 100 KiB answers",
        path="hop",
        load="http",
        port=LARGE_PORT,
        peers=("envoy-min", "envoy-rbac"),
        body_bytes=LARGE_BYTES,
    ),
    Scenario(
        name="tcp_pingpong",
        title="TCP, 64 B there and back, through one agent",
        path="hop",
        load="pingpong",
        port=ECHO_PORTS[0],
        peers=("envoy-tcp",),
    ),
    Scenario(
        name="tcp_bulk",
        title="TCP upload, one stream, plaintext, through one agent",
        path="hop",
        load="bulk",
        port=SINK_PORT,
        peers=("envoy-tcp",),
        unit="GiB",
        levels=(1,),
    ),
    Scenario(
        name="mesh_http",
        title="HTTP/1.1 through two agents, mutual TLS between them, parsed and decided on both sides",
        path="mesh",
        load="http",
        port=SMALL_PORT,
        peers=("envoy-h1", "envoy-h2"),
        body_bytes=SMALL_BYTES,
    ),
    Scenario(
        name="mesh_tcp",
        title="the same requests as opaque TCP",
        path="mesh",
        load="http",
        port=OPAQUE_PORT,
        peers=("envoy-connect",),
        body_bytes=SMALL_BYTES,
    ),
    Scenario(
        name="mesh_pingpong",
        title="TCP, 64 B there and back, through two agents, mutual TLS between them",
        path="mesh",
        load="pingpong",
        port=ECHO_PORTS[0],
        peers=("envoy-connect",),
    ),
    Scenario(
        name="mesh_bulk",
        title="TCP upload, one stream, through two agents, mutual TLS between them",
        path="mesh",
        load="bulk",
        port=SINK_PORT,
        peers=("envoy-connect",),
        unit="GiB",
        levels=(1,),
    ),
    Scenario(
        name="new_connection",
        title="new TCP connections over a tunnel that stands: connect, 64 B there and back, close",
        path="mesh",
        load="connect",
        port=ECHO_PORTS[0],
        peers=("envoy-connect",),
        unit="connection",
        ports=ECHO_PORTS[1] - ECHO_PORTS[0] + 1,
    ),
    Scenario(
        name="handshake",
        title="new tunnels, each with a full mutual TLS handshake, one connection in each",
        path="mesh",
        load="handshake",
        port=FRESH_PORTS_FROM,
        peers=("envoy-mtls",),
        unit="handshake",
        levels=(32,),
    ),
)
"""In the order in which they run. Handshakes are last, because their tunnels stay for minutes and are kept alive."""

IDLE_MEMORY: Final = "idle_memory"
"""The scenario that is not about CPU; it runs before all others, on agents that have done nothing yet."""

NAMES: Final = (IDLE_MEMORY, *(scenario.name for scenario in SCENARIOS))
HOP_PEERS: Final = get_args(HopPeer)
PAIR_PEERS: Final = get_args(PairPeer)


def levels(scenario: Scenario, *, quick: bool) -> tuple[int, ...]:
    """Return how many connections a scenario is run with."""
    if quick and 32 in scenario.levels:
        return (32,)
    return scenario.levels


def fresh_ports(rounds: int) -> int:
    """Return how many ports new tunnels need: idle ones, a warm-up and every round."""
    return IDLE_TUNNELS + HANDSHAKES_PER_RUN * (rounds + 1)
