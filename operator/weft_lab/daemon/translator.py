"""Keeps every node's translation of Service addresses up to date; one transaction at a time for each node."""

import logging
from concurrent.futures import Future
from typing import Final

from weft_lab.daemon.lab import Lab
from weft_lab.machine.namespaces import apply_rules
from weft_lab.plan.endpoints import service_rules
from weft_lab.plan.translation import translation_table
from weft_lab.plan.view import View

_log: Final = logging.getLogger("weft_lab.translator")
_RETRY_S: Final = 1.0


class Translator:
    """Rules as they are and as they should be, by node."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._wanted: dict[str, str] = {}
        self._present: dict[str, str] = {}
        self._busy: set[str] = set()
        self.problem = ""

    def sync(self, view: View) -> None:
        """Bring all nodes to the Services of a view."""
        rules = service_rules(view)
        for node in self._lab.record.nodes:
            self._wanted[node] = translation_table(rules, self._lab.node_addresses(node), self._lab.plan)
            self._step(node)

    def _step(self, node: str) -> None:
        text = self._wanted[node]
        if node in self._busy or self._present.get(node) == text:
            return
        self._busy.add(node)
        namespace = self._lab.node_namespace(node)
        self._lab.loop.in_thread(lambda: apply_rules(namespace, text), lambda done: self._applied(node, text, done))

    def _applied(self, node: str, text: str, future: "Future[None]") -> None:
        self._busy.discard(node)
        error = future.exception()
        if error is None:
            self._present[node] = text
            self.problem = ""
            self._step(node)
            return
        _log.error("node %s: Service rules were refused: %s", node, error)
        self.problem = f"node {node}: Service rules were refused: {error}"
        self._lab.loop.at(self._lab.loop.now + _RETRY_S, lambda: self._step(node))
