"""Compiles the lab's objects and puts the documents where agents read them; one compilation at a time, the latest wins."""

import logging
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

import msgspec

from weft_contract.problems import Problem
from weft_lab.daemon.lab import Lab
from weft_lab.model import EndpointSlice, Foreign, Key, LabObject, Namespace, Node, Pod, Service
from weft_lab.model.kinds import kind_named
from weft_lab.plan.view import View
from weft_operator.compile import Compiled, Document, ViewBuilder, compile_cluster, write_documents

_log: Final = logging.getLogger("weft_lab.publisher")
_COMPILED_TYPES: Final = (Namespace, Node, Pod, Service, EndpointSlice, Foreign)


@dataclass(frozen=True, slots=True)
class Published:
    """A compilation that is on disk."""

    revision: int
    compiled: Compiled


class Publisher:
    """Compiling, off the loop's thread."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._wanted: tuple[int, View] | None = None
        self._busy = False
        self.revision = 0
        """Newest revision of the store that is on disk."""
        self.problems: tuple[Problem, ...] = ()

    def publish(self, view: View) -> None:
        """Compile a view soon; a newer one replaces it."""
        if self._lab.store.revision != self.revision:
            self._wanted = (self._lab.store.revision, view)
            self._step()

    def _step(self) -> None:
        if self._busy or self._wanted is None:
            return
        (revision, view), self._wanted = self._wanted, None
        self._busy = True
        self._lab.loop.in_thread(lambda: self._work(revision, view), self._done)

    def _work(self, revision: int, view: View) -> Published:
        compiled = compile_view(view)
        write_documents(compiled, self._lab.directory / "config")
        return Published(revision, compiled)

    def _done(self, future: "Future[Published]") -> None:
        self._busy = False
        error = future.exception()
        if error is not None:
            _log.error("compiling failed", exc_info=error)
            message = f"compiling failed, the last good configuration stays: {error}"
            self.problems = (Problem(path="$", message=message),)
        else:
            published = future.result()
            self.revision, self.problems = published.revision, published.compiled.problems
        self._step()


def compile_view(view: View) -> Compiled:
    """Compile all objects of a view that the compiler reads."""
    builder = ViewBuilder()
    for key, found in view.objects.items():
        if isinstance(found, _COMPILED_TYPES):
            builder.add_document(Document(source="", body=document(key, found)))
    return compile_cluster(builder.view({}))


def document(key: Key, found: LabObject) -> dict[str, object]:
    """Return an object as a Kubernetes document."""
    kind = kind_named(key.kind)
    head: dict[str, object] = {"apiVersion": kind.api_version if kind is not None else "", "kind": key.kind}
    if isinstance(found, Foreign):
        given = found.document.get("metadata")
        metadata = dict(given) if isinstance(given, dict) else {}
        return found.document | {"metadata": metadata | msgspec.to_builtins(found.metadata)}
    plain: dict[str, object] = msgspec.to_builtins(found)
    return head | plain
