"""A whole agent whose operator goes away for good and comes back: endpoints come from an API server in between."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from weft_agent.__main__ import CONTROL
from weft_agent.kubernetes import Account
from weft_testing import objects as o
from weft_testing.agent_process import AgentProcess, require_root, until
from weft_testing.served_hub import ServedHub, served_hub
from weft_testing.stub_api_server import Asked, Stream, StubApiServer, begin, listing

LIMITS = (
    "operator_backoff_first_s=0.05,operator_backoff_max_s=0.2,snapshot_interval_s=0.1,"
    "degraded_after_s=0.3,degraded_jitter_s=0.1"
)
PORTS = [{"name": "p80", "port": 80, "protocol": "TCP"}]


def shown(address: str, *, ready: bool = True) -> o.Doc:
    return {"addresses": [address], "nodeName": "n2", "conditions": {"ready": ready}}


@pytest.fixture(autouse=True)
def _root() -> None:
    require_root()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[ServedHub]:
    directory = tmp_path / "hub"
    directory.mkdir()
    with served_hub(directory) as hub:
        hub.change(
            o.node("n1", "172.16.0.1"),
            o.node("n2", "172.16.0.2"),
            o.namespace("shop"),
            o.pod("web", "10.0.1.1", node="n1"),
            o.pod("api-1", "10.0.2.1", node="n2", labels={"app": "api"}),
            o.pod("api-2", "10.0.2.2", node="n2", labels={"app": "api"}),
            o.service("api", 80, addresses=["10.96.0.1"], selector={"app": "api"}),
            o.endpoint_slice("api", [shown("10.0.2.1"), shown("10.0.2.2")], PORTS),
        )
        yield hub


async def _answer(asked: Asked, stream: Stream) -> None:
    """Show of the Service that one endpoint is not ready and that there is a new one; of anything else, nothing."""
    if not asked.path.endswith("/endpointslices"):
        await trio.sleep_forever()
    elif asked.watches:
        await begin(stream)
        await trio.sleep_forever()
    else:
        entries = [shown("10.0.2.1"), shown("10.0.2.2", ready=False), shown("10.0.2.77")]
        await listing(stream, o.endpoint_slice("api", entries, PORTS))


@contextmanager
def api_server(directory: Path) -> Iterator[Account]:
    """Serve in a thread of its own."""
    directory.mkdir()
    ready = threading.Event()
    accounts: list[Account] = []
    stops: list[tuple[trio.lowlevel.TrioToken, trio.Event]] = []

    async def serve() -> None:
        server, stop = StubApiServer(directory), trio.Event()
        server.answer = _answer
        async with server.serving() as account:
            accounts.append(account)
            stops.append((trio.lowlevel.current_trio_token(), stop))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    assert ready.wait(10)
    try:
        yield accounts[0]
    finally:
        token, stop = stops[0]
        token.run_sync_soon(stop.set)
        thread.join(10)


def test_endpoints_are_fresh_without_an_operator_and_its_word_holds_when_it_is_back(
    hub: ServedHub, tmp_path: Path
) -> None:
    source = (
        "--operator", f"https://127.0.0.1:{hub.port}", "--operator-roots", str(hub.roots_path),
        "--token", str(hub.token_path("n1")), "--snapshot", str(tmp_path / "disk"),
    )  # fmt: skip
    with api_server(tmp_path / "api") as account:
        arguments = (
            "--limit", LIMITS,
            "--kubernetes", f"https://{account.authority}", "--kubernetes-account", str(account.directory),
        )  # fmt: skip
        with AgentProcess(tmp_path, control=CONTROL, source=source, arguments=arguments) as agent:

            def held() -> dict[str, str]:
                return {entry["key"]: entry["hash"] for entry in agent.admin("/config")["resources"]}

            def in_force() -> bool:
                status = agent.status()
                applied = {worker["appliedGeneration"] for worker in status["workers"]}
                return applied == {status["config"]["generation"]}

            agent.start()
            until(lambda: agent.status().get("config", {}).get("origin") == "operator", "it has a configuration")
            said = hub.should_hold("n1")
            until(lambda: held() == said, "all of it")
            until(lambda: not agent.status()["degradedEndpoints"]["active"], "its operator agrees")
            agent.mark()
            hub.stop()
            until(lambda: agent.status()["degradedEndpoints"]["gone"] == 1, "who is not ready gets no traffic")
            until(in_force, "every worker was told")
            status = agent.status()
            assert {"active": True, "services": 1, "added": 0, "unknown": 1}.items() <= status[
                "degradedEndpoints"
            ].items()
            assert any("1 new endpoints" in text for text in status["warnings"])
            assert not any(worker["refused"] for worker in status["workers"])
            assert held() == said, "what the operator said is kept as it was"
            hub.start()
            until(lambda: not agent.status()["degradedEndpoints"]["active"], "its word holds")
            until(in_force, "everywhere")
            assert held() == said
            assert agent.status()["degradedEndpoints"]["gone"] == 0
            states = [event["state"] for event in agent.events() if event["event"] == "degraded-endpoints"]
            assert states == ["begun", "changed", "over"], "since the operator agreed first"
