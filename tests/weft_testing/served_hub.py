"""The operator's real hub and certificate endpoint behind real TLS, in a thread of their own, fed with objects by a test.

The compiler is the live engine, the authority a real one; missing of the operator are the API server and its TokenReview: a
token is the name of its node. It is for tests of both planes together; each plane has its own tests with a stand-in.
"""

import asyncio
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from weft_contract.stream import SERVER_NAME
from weft_operator.ca import Authority, create_intermediate, create_root
from weft_operator.distribution import Hub, StreamEndpoint
from weft_operator.identity import CertificateEndpoint, PodIndex
from weft_testing.live import Twin, held
from weft_testing.objects import Doc
from weft_testing.stream_agent import OpenDoor

T = TypeVar("T")

TRUST_DOMAIN: Final = "cluster.local"
WAIT_S: Final = 20.0
CLOSING_S: Final = 0.2
"""asyncio closes TLS transports some turns after it was told to, and says of none when."""


class ServedHub:
    """A hub at a port.

    Args:
        directory: for its certificate and the agents' roots file and token files.
    """

    def __init__(self, directory: Path) -> None:
        now = time.time()
        self.directory = directory
        self.root = create_root(TRUST_DOMAIN, now_unix_s=now)
        self.authority = Authority(create_intermediate(self.root, TRUST_DOMAIN, now_unix_s=now), TRUST_DOMAIN)
        self.roots_path = directory / "roots.pem"
        self.roots_path.write_bytes(self.root.certificate_pem)
        self.twin, self.hub, self.door, self.pods = Twin(), Hub(), OpenDoor(), PodIndex()
        self.port = 0
        self._stream = StreamEndpoint(self.hub, self.door)
        self._certificates = CertificateEndpoint(self.door, self.pods, lambda: self.authority)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._running = threading.Event()
        self._thread: threading.Thread | None = None

    # -- from the test's thread -----------------------------------------------------------------------------------

    def token_path(self, node: str) -> Path:
        """Return a file with the token of a node."""
        path = self.directory / f"token-{node}"
        path.write_text(node)
        return path

    def change(self, *put: Doc, drop: tuple[tuple[str, str], ...] = ()) -> None:
        """Feed objects, and roots beside the first ones."""

        def feed() -> None:
            bundles = {TRUST_DOMAIN: (self.root.certificate_pem.decode(),)} if not self.hub.ready else None
            self.pods.apply({held(body).key: held(body) for body in put} | dict.fromkeys(drop))
            self.hub.apply(self.twin.change(put, drop, bundles))

        self.call(feed)

    def replace_roots(self, *pems: bytes) -> None:
        """Distribute another bundle."""
        bundles = {TRUST_DOMAIN: tuple(pem.decode() for pem in pems)}
        self.call(lambda: self.hub.apply(self.twin.change(bundles=bundles)))

    def should_hold(self, node: str) -> dict[str, str]:
        """Return the hash of everything a node should hold, by key."""
        return self.call(lambda: {key: item_hash for key, (item_hash, _) in self.twin.contents()[node].items()})

    def call(self, function: Callable[[], T]) -> T:
        """Call a function in the hub's loop."""

        async def run() -> T:
            return function()

        assert self._loop is not None, "it is started"
        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(WAIT_S)

    def start(self) -> None:
        """Begin to serve; a second time at the same port."""
        self._running.clear()
        self._thread = threading.Thread(target=asyncio.run, args=(self._main(),), daemon=True)
        self._thread.start()
        assert self._running.wait(WAIT_S)

    def stop(self) -> None:
        """End: streams are told goodbye."""
        if self._thread is not None:
            self.call(self._stop.set)
            self._thread.join(WAIT_S)
            self._thread = None

    # -- in the hub's thread --------------------------------------------------------------------------------------

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._stream = StreamEndpoint(self.hub, self.door)
        application = web.Application()
        application.add_routes([*self._stream.routes(), *self._certificates.routes()])
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=self._context(), reuse_address=True)
        await site.start()
        self.port = runner.addresses[0][1]
        self._running.set()
        await self._stop.wait()
        await self._stream.close()
        await runner.cleanup()
        await asyncio.sleep(CLOSING_S)

    def _context(self) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        issued = self.authority.issue_server(key.public_key(), [SERVER_NAME], now_unix_s=time.time())
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = self.directory / "server.pem"
        path.write_bytes(pem + issued.chain_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(path)
        return context


@contextmanager
def served_hub(directory: Path) -> Iterator[ServedHub]:
    """Serve a hub until the block ends."""
    hub = ServedHub(directory)
    hub.start()
    try:
        yield hub
    finally:
        hub.stop()
