"""Compiles the lab's objects, and puts documents and certificates where agents read them.

One compilation at a time, the latest state wins. Certificates are there before the document that needs them.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

import msgspec

from weft_contract.codec import digest
from weft_contract.identity import IdentityGrammarError, SpiffeId, check_trust_domain, parse_spiffe_id
from weft_contract.objects import DEFAULT_TRUST_DOMAIN
from weft_contract.problems import Problem
from weft_contract.resources import Workload
from weft_lab.daemon.identities import IdentityKeeper
from weft_lab.daemon.lab import Lab
from weft_lab.daemon.loop import Timer
from weft_lab.model import EndpointSlice, Foreign, Key, LabObject, Namespace, Node, Pod, Service
from weft_lab.model.kinds import kind_named
from weft_lab.plan.view import View
from weft_operator.compile import ClusterView, Compiled, Document, ViewBuilder, compile_cluster, write_documents

_log: Final = logging.getLogger("weft_lab.publisher")
_LEAST_RENEWAL_S: Final = 1.0
"""Between two attempts to renew, so that a failing one does not turn in circles."""
_COMPILED_TYPES: Final = (Namespace, Node, Pod, Service, EndpointSlice, Foreign)


@dataclass(frozen=True, slots=True)
class Published:
    """A compilation that is on disk."""

    revision: int
    compiled: Compiled
    digests: dict[str, str]


class Publisher:
    """Compiling and certifying, off the loop's thread.

    Args:
        lab: the lab.
        identities: certificates for the nodes; None in a lab without agents.
    """

    def __init__(self, lab: Lab, identities: IdentityKeeper | None) -> None:
        self._lab = lab
        self._identities = identities
        self._wanted: tuple[int, View] | None = None
        self._busy = False
        self._renewal: Timer | None = None
        self.revision = 0
        """Newest revision of the store that is on disk."""
        self.digests: dict[str, str] = {}
        """Content hash of each node's document on disk."""
        self.problems: tuple[Problem, ...] = ()
        self.on_published: Callable[[], None] = lambda: None

    def publish(self, view: View) -> None:
        """Compile a view soon; a newer one replaces it."""
        if self._lab.store.revision != self.revision:
            self._ask(view)

    def _ask(self, view: View) -> None:
        self._wanted = (self._lab.store.revision, view)
        self._step()

    def _step(self) -> None:
        if self._busy or self._wanted is None:
            return
        (revision, view), self._wanted = self._wanted, None
        self._busy = True
        self._lab.loop.in_thread(lambda: self._work(revision, view), self._done)

    def _work(self, revision: int, view: View) -> Published:
        builder = collect(view)
        domain = trust_domain(builder.view({}))
        bundles = self._identities.bundles(domain) if self._identities is not None else {}
        compiled = compile_cluster(builder.view(bundles))
        if self._identities is not None:
            for node in self._lab.record.nodes:
                self._identities.keep(node, identities_of(compiled, node))
        write_documents(compiled, self._lab.directory / "config")
        digests = {node: digest(compiled.document_bytes(node)) for node in compiled.nodes}
        return Published(revision, compiled, digests)

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
            self.digests = published.digests
            self.on_published()
        self._schedule_renewal()
        self._step()

    def _schedule_renewal(self) -> None:
        due = self._identities.renew_at_unix_s() if self._identities is not None else None
        if self._renewal is not None:
            self._renewal.cancel()
        if due is not None:
            at = self._lab.loop.now + max(_LEAST_RENEWAL_S, due - time.time())
            self._renewal = self._lab.loop.at(at, lambda: self._ask(self._lab.store.view()))


def collect(view: View) -> ViewBuilder:
    """Return all objects of a view that the compiler reads."""
    builder = ViewBuilder()
    for key, found in view.objects.items():
        if isinstance(found, _COMPILED_TYPES):
            builder.add_document(Document(source="", body=document(key, found)))
    return builder


def trust_domain(cluster: ClusterView) -> str:
    """Return the trust domain that the Mesh object names; the default where it names none that is one."""
    named = cluster.mesh.spec.trust_domain if cluster.mesh is not None else DEFAULT_TRUST_DOMAIN
    try:
        return check_trust_domain(named)
    except IdentityGrammarError:
        return DEFAULT_TRUST_DOMAIN


def identities_of(compiled: Compiled, node: str) -> set[SpiffeId]:
    """Return who runs on a node."""
    entries = compiled.nodes[node].resources if node in compiled.nodes else ()
    return {parse_spiffe_id(entry.spec.identity) for entry in entries if isinstance(entry.spec, Workload)}


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
