"""Who takes part in a scenario, ready to be measured: our agents, and Envoys in the same places."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, cast

from perf.bench import cpu, scene
from perf.bench.envoy_config import Credentials, HopPeer, PairPeer, Place, hop_config, pair_configs
from perf.bench.envoys import admin_path, capture, running_envoy
from perf.bench.scenarios import ECHO_PORTS, HOP_PEERS, Contestant, Load, Peer
from perf.bench.stage import Stage, StageError

_CA_TIMEOUT_S: Final = 60


@dataclass(frozen=True, slots=True)
class Entrant:
    """One contestant on one way."""

    name: Contestant
    client: str
    """The pod in which load is made."""
    host: str
    """The address that load is sent to."""
    groups: tuple[Callable[[], list[int]], ...]
    """Tell all processes of each proxy on the way, the client's first."""

    def processes(self) -> list[int]:
        """Return all processes of all proxies on the way."""
        return [pid for group in self.groups for pid in group()]


def our_hop(stage: Stage) -> Entrant:
    """Return our agent between a client outside of the mesh and a pod."""
    address = stage.address(scene.hop_pod(scene.WEFT))
    return Entrant("weft", scene.OUTSIDE, address, (partial(stage.agent_processes, scene.SERVER_NODE),))


def our_pair(stage: Stage, load: Load) -> Entrant:
    """Return our agents between two pods: by Service address, for new tunnels by the pod's own."""
    name = scene.server_pod(scene.WEFT)
    host = stage.address(name) if load == "handshake" else stage.service(name)
    groups = tuple(partial(stage.agent_processes, node) for node in (scene.CLIENT_NODE, scene.SERVER_NODE))
    return Entrant("weft", scene.client_pod(scene.WEFT), host, groups)


class Envoys:
    """Starts Envoys in the pods of the lab's peer sets.

    Args:
        stage: the lab.
        folder: for their files.
    """

    def __init__(self, stage: Stage, folder: Path) -> None:
        self._stage = stage
        self._folder = folder
        self._captured: set[str] = set()
        self.backend = ""
        """How capture rules are written."""

    @contextmanager
    def running(self, peers: tuple[Peer, ...], port: int) -> Iterator[list[Entrant]]:
        """Run these peers, each in a set of its own, until the block ends.

        Args:
            peers: at most as many as there are sets.
            port: of the application that they forward to.
        """
        with ExitStack() as stack:
            yield [
                stack.enter_context(self.running_one(peer, of, port))
                for peer, of in zip(peers, scene.PEER_SETS, strict=False)
            ]

    @contextmanager
    def running_one(self, peer: Peer, of: str, port: int) -> Iterator[Entrant]:
        """Run one peer in one set of pods until the block ends."""
        if peer in HOP_PEERS:
            with self._running_hop(cast("HopPeer", peer), of, port) as entrant:
                yield entrant
        else:
            with self._running_pair(cast("PairPeer", peer), of, port) as entrant:
                yield entrant

    @contextmanager
    def _running_hop(self, peer: HopPeer, of: str, port: int) -> Iterator[Entrant]:
        pod = scene.hop_pod(of)
        self._capture(pod)
        place = self._place(peer, pod, port)
        with running_envoy(self._stage, pod, peer, hop_config(peer, place), self._folder) as pid:
            yield Entrant(peer, scene.OUTSIDE, place.address, (partial(cpu.descendants, pid),))

    @contextmanager
    def _running_pair(self, peer: PairPeer, of: str, port: int) -> Iterator[Entrant]:
        client, server = scene.client_pod(of), scene.server_pod(of)
        self._capture(client)
        self._capture(server)
        names = f"{peer}-client", f"{peer}-server"
        ends = self._credentials(client, server)
        places = self._place(names[0], server, port), self._place(names[1], server, port)
        configs = pair_configs(peer, *places, *ends)
        with (
            running_envoy(self._stage, client, names[0], configs[0], self._folder) as first,
            running_envoy(self._stage, server, names[1], configs[1], self._folder) as second,
        ):
            groups = partial(cpu.descendants, first), partial(cpu.descendants, second)
            yield Entrant(peer, client, self._stage.service(server), groups)

    def _place(self, name: str, pod: str, port: int) -> Place:
        admin = admin_path(self._folder, name)
        admin.unlink(missing_ok=True)
        return Place(str(admin), self._stage.address(pod), port)

    def _capture(self, pod: str) -> None:
        if pod not in self._captured:
            self.backend = capture(self._stage, pod)
            self._captured.add(pod)

    def _credentials(self, client: str, server: str) -> tuple[Credentials, Credentials]:
        """Issue certificates as our agents have them: `weft ca`, ECDSA P-256, one intermediate."""
        authority, out = self._folder / "ca", self._folder / "identities"
        if not authority.exists():
            self._ca("init", "--ca", str(authority), "--trust-domain", scene.TRUST_DOMAIN)
        accounts = [f"{scene.NAMESPACE}/{pod}" for pod in (client, server)]
        self._ca("issue", *accounts, "--ca", str(authority), "-o", str(out))
        roots = str(out / "roots" / f"{scene.TRUST_DOMAIN}.pem")
        key_pairs = [str(out / f"{scene.NAMESPACE}.{pod}.pem") for pod in (client, server)]
        ends = zip(key_pairs, (server, client), strict=True)
        first, second = (Credentials(key_pair, roots, scene.identity(other)) for key_pair, other in ends)
        return first, second

    def _ca(self, *words: str) -> None:
        command = [sys.executable, "-P", "-m", "weft_cli", "ca", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_CA_TIMEOUT_S, check=False)
        if done.returncode != 0:
            raise StageError(f"weft ca {words[0]} failed: {done.stderr}")


def forwarded_port(load: Load, port: int) -> int:
    """Return the port that peers forward to: new tunnels of ours need ports of their own, an Envoy's connections do not."""
    return ECHO_PORTS[0] if load == "handshake" else port
