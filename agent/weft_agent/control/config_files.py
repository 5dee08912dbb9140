"""The node's configuration from a file: read, judged whole, replaced whole; the last good one always wins.

Theory: `<config>/<node>.json` is decoded completely before anything changes; a file with problems changes nothing and says
all of them. Every good file is kept as `<state>/last-good.json`, from which the agent starts when the present file is bad
or missing, and says so loudly. Changes are applied at most twice a second, so that a flapping writer costs little.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import trio

from weft_agent.control.config_source import Config, Origin
from weft_agent.control.watch import Watch
from weft_agent.telemetry.log import Log
from weft_agent.telemetry.metrics import Metrics
from weft_contract.codec import decode_document, digest, encode
from weft_contract.problems import ContractError, Problem
from weft_contract.resources import Node, NodeDocument, TrustBundle, Workload

LAST_GOOD: Final = "last-good.json"
MAX_FILE_BYTES: Final = 256 * 1024 * 1024
APPLY_INTERVAL_S: Final = 0.5


class ConfigFiles:
    """Follows one node's file.

    Args:
        directory: of the file.
        node: whose file.
        state: where the last good one is kept.
        log: told of every change and every problem.
        metrics: counts them.
    """

    def __init__(self, directory: Path, node: str, state: Path, log: Log, metrics: Metrics) -> None:
        self._path = directory / f"{node}.json"
        self._node = node
        self._last_good = state / LAST_GOOD
        self._log = log
        self._metrics = metrics
        self._watch = Watch([directory])
        self._seen: bytes | None = None
        self.current: Config | None = None
        self.problems: tuple[str, ...] = ()
        """Why the present file is not in force; empty: it is."""

    def reload(self) -> None:
        """Look at the file now."""
        self._watch.ask()

    def degraded(self) -> Iterable[str]:
        """Say nothing: a bad file is among the problems, and there is no one else to miss."""
        return ()

    async def run(self, apply: Callable[[Config], None]) -> None:
        """Follow the file until cancelled.

        Args:
            apply: told of each new configuration, beginning with the one at start.
        """
        await self._look(apply)
        if self.current is None:
            await self._fall_back(apply)
        try:
            while True:
                await self._watch.changed()
                if await self._look(apply):
                    await trio.sleep(APPLY_INTERVAL_S)
        finally:
            self._watch.close()

    async def _look(self, apply: Callable[[Config], None]) -> bool:
        """Read the file; True when it was put into force."""
        try:
            data = await trio.to_thread.run_sync(_read, self._path)
        except OSError as exc:
            remedy = "compile the mesh for this node, or give --config and --node their right values"
            self._refuse([Problem(path="$", message=f"{exc.strerror}", source=str(self._path), remedy=remedy)])
            self._seen = None
            return False
        if data == self._seen:
            return False
        self._seen = data
        try:
            config = await trio.to_thread.run_sync(parse, data, str(self._path), self._node, "file")
        except ContractError as exc:
            self._refuse(exc.problems)
            return False
        self.problems = ()
        self._metrics.set("weft_config_stale", 0.0)
        if self.current is not None and self.current.digest == config.digest:
            self._metrics.add("weft_config_reloads_total", outcome="unchanged")
            return False
        await trio.to_thread.run_sync(self._keep, data)
        self._put_into_force(config, apply)
        return True

    async def _fall_back(self, apply: Callable[[Config], None]) -> None:
        try:
            data = await trio.to_thread.run_sync(_read, self._last_good)
            config = await trio.to_thread.run_sync(parse, data, str(self._last_good), self._node, "last-good")
        except FileNotFoundError:
            self._log.error("config-missing", file=str(self._path), consequence="no pod is served until there is one")
            return
        except (OSError, ContractError) as exc:
            self._log.error("last-good-unusable", error=str(exc))
            return
        self._log.warning("config-last-good", file=str(self._last_good), digest=config.digest)
        self._metrics.set("weft_config_stale", 1.0)
        self._put_into_force(config, apply)

    def _put_into_force(self, config: Config, apply: Callable[[Config], None]) -> None:
        self.current = config
        self._metrics.add("weft_config_reloads_total", outcome="applied")
        self._log.info(
            "config-read",
            origin=config.origin,
            digest=config.digest,
            resources=len(config.entries),
            workloads=len(config.workloads),
        )
        apply(config)

    def _refuse(self, problems: tuple[Problem, ...] | list[Problem]) -> None:
        texts = tuple(str(problem) for problem in problems)
        if texts == self.problems:
            return
        self.problems = texts
        self._metrics.add("weft_config_reloads_total", outcome="refused")
        self._metrics.set("weft_config_stale", 1.0)
        consequence = "the last good configuration stays in force" if self.current else "there is none to go on with"
        self._log.error("config-refused", problems=list(texts), consequence=consequence)

    def _keep(self, data: bytes) -> None:
        new = self._last_good.with_suffix(".new")
        try:
            new.write_bytes(data)
            os.replace(new, self._last_good)
        except OSError as exc:  # a full disk must not keep a good configuration from being applied
            self._log.error("last-good-not-kept", error=str(exc))


def parse(data: bytes, source: str, node: str, origin: Origin) -> Config:
    """Judge a file's bytes.

    Raises:
        ContractError: with every problem.
    """
    document: NodeDocument = decode_document(data, source=source, node=node)
    specs = [entry.spec for entry in document.resources]
    return Config(
        digest=digest(data),
        origin=origin,
        node=next(spec for spec in specs if isinstance(spec, Node)),
        workloads=tuple(spec for spec in specs if isinstance(spec, Workload)),
        bundles=tuple(spec for spec in specs if isinstance(spec, TrustBundle)),
        entries={entry.key: (entry.hash, encode(entry.spec)) for entry in document.resources},
    )


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise OSError(27, f"{path} is larger than {MAX_FILE_BYTES} bytes")
    return data
