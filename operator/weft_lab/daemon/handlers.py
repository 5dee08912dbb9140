"""Answers to requests: every verb of the protocol, on the loop's thread."""

from dataclasses import asdict

from weft_contract.problems import Problem
from weft_lab.container.order import JoinOrder, NodeOrder
from weft_lab.daemon.admission import Admission
from weft_lab.daemon.agents import Agent, node_order
from weft_lab.daemon.kubelet import Kubelet
from weft_lab.daemon.lab import Lab
from weft_lab.daemon.pod_runtime import PodRuntime
from weft_lab.daemon.publisher import Publisher, document
from weft_lab.daemon.reconciler import Reconciler
from weft_lab.daemon.translator import Translator
from weft_lab.model import Key, LabObject, Pod, kind_for
from weft_lab.model.kinds import Kind
from weft_lab.model.meta import has_labels
from weft_lab.plan.container_life import ContainerLife
from weft_lab.plan.environment import ConfigurationError
from weft_lab.plan.view import owner_of
from weft_lab.protocol import (
    AgentStatus,
    Applied,
    Apply,
    Delete,
    Enter,
    FindPod,
    Get,
    Join,
    LabStatus,
    LogFound,
    Logs,
    NodeStatus,
    ObjectOutcome,
    Objects,
    OrderFound,
    PodFound,
    ProblemText,
    Reference,
)


class RefusedError(Exception):
    """The request cannot be carried out; the message is for people."""

    def __init__(self, message: str, *, missing: bool = False) -> None:
        super().__init__(message)
        self.missing = missing


class Handlers:
    """Everything that can be asked of a lab."""

    def __init__(
        self,
        lab: Lab,
        admission: Admission,
        reconciler: Reconciler,
        kubelet: Kubelet,
        publisher: Publisher,
        translator: Translator,
    ) -> None:
        self._lab = lab
        self._admission = admission
        self._reconciler = reconciler
        self._kubelet = kubelet
        self._publisher = publisher
        self._translator = translator
        self.agents: dict[str, Agent] = {}

    # -- objects --------------------------------------------------------------------------------------------------

    def apply(self, request: Apply) -> Applied:
        """Take objects in."""
        outcomes, problems = self._admission.apply(request.documents, request.namespace)
        return Applied(outcomes=tuple(outcomes), problems=tuple(problems), revision=self._lab.store.revision)

    def delete(self, request: Delete) -> Applied:
        """Begin the end of objects."""
        outcomes: list[ObjectOutcome] = []
        problems: list[ProblemText] = []
        for reference in request.references:
            kind = self._kind(reference.kind)
            found = self._select(reference, kind)
            if kind.name == "Node":
                problems.append(
                    ProblemText(text="nodes cannot be deleted; take the lab down and up again", warning=False)
                )
                continue
            if not found and reference.name is not None:
                problems.append(ProblemText(text=_not_found(kind, reference), warning=False))
            for key, _ in found:
                self._reconciler.delete(key, request.grace_s)
                outcomes.append(
                    ObjectOutcome(resource=kind.resource(key.name), namespace=key.namespace, outcome="deleted")
                )
        return Applied(outcomes=tuple(outcomes), problems=tuple(problems), revision=self._lab.store.revision)

    def get(self, request: Get) -> Objects:
        """Show objects."""
        kind = self._kind(request.reference.kind)
        found = self._select(request.reference, kind)
        if not found and request.reference.name is not None:
            raise RefusedError(_not_found(kind, request.reference), missing=True)
        items = tuple(document(key, item) for key, item in found)
        return Objects(kind=kind.name, items=items, revision=self._lab.store.revision)

    def _select(self, reference: Reference, kind: Kind) -> list[tuple[Key, LabObject]]:
        namespace = reference.namespace if kind.namespaced else None
        objects = self._lab.store.view().objects
        return [
            (key, objects[key])
            for key in sorted(objects)
            if key.kind == kind.name
            and namespace in {None, key.namespace}
            and reference.name in {None, key.name}
            and has_labels(objects[key].metadata.labels, reference.selector)
        ]

    @staticmethod
    def _kind(word: str) -> Kind:
        kind = kind_for(word)
        if kind is None:
            raise RefusedError(f'the lab doesn\'t have a resource type "{word}"')
        return kind

    # -- pods -----------------------------------------------------------------------------------------------------

    def find_pod(self, request: FindPod) -> PodFound:
        """Find the pod that a word means; of a workload, its first ready pod."""
        word, _, name = request.word.rpartition("/")
        if word and self._kind(word).name != "Pod":
            return self._pod_of(self._kind(word), name, request.namespace)
        if self._kubelet.find(request.namespace, name) is None:
            key = Key("Pod", request.namespace, name)
            reason = "has no node yet" if self._lab.store.get(key) is not None else "not found"
            remedy = f"see `weft lab get pods -n {request.namespace}`, or `get pods -A`"
            raise RefusedError(f'pods "{name}" {reason}; {remedy}', missing=True)
        return PodFound(namespace=request.namespace, name=name)

    def _pod_of(self, kind: Kind, name: str, namespace: str) -> PodFound:
        found = self._lab.store.get(Key(kind.name, namespace, name))
        if found is None:
            raise RefusedError(f'{kind.plural} "{name}" not found in namespace {namespace}', missing=True)
        if kind.name == "Service":
            raise RefusedError("name a pod or the workload that makes it, a Service has no pods of its own")
        pods = [pod for pod in self._lab.store.view().pods() if self._belongs(pod, kind, found)]
        pods.sort(key=lambda pod: (not pod.ready, pod.status.phase != "Running", pod.metadata.name))
        if not pods:
            raise RefusedError(f"{kind.name.lower()} {name} has no pods")
        return PodFound(namespace=namespace, name=pods[0].metadata.name)

    @staticmethod
    def _belongs(pod: Pod, kind: Kind, found: LabObject) -> bool:
        owner = owner_of(pod)
        return owner is not None and owner.kind == kind.name and owner.uid == found.metadata.uid

    def join(self, request: Join) -> OrderFound:
        """Say how to run a command in a container."""
        runtime = self._runtime(request.namespace, request.pod)
        container = request.container or runtime.pod.spec.containers[0].name
        self._check_container(runtime, container)
        extra = {"TERM": request.terminal} if request.terminal else {}
        try:
            order: JoinOrder = runtime.join_order(container, request.command, extra)
        except ConfigurationError as exc:
            raise RefusedError(f"{exc}; see `weft lab logs {request.pod} -n {request.namespace}`") from exc
        return OrderFound(order=asdict(order), container=container)

    def logs(self, request: Logs) -> LogFound:
        """Say where the log of a container is."""
        runtime = self._runtime(request.namespace, request.pod)
        container = request.container or runtime.pod.spec.containers[0].name
        life = self._check_container(runtime, container)
        attempt = life.attempt - (1 if request.previous else 0)
        if attempt < 1 or not runtime.log_path(container, attempt).exists():
            raise RefusedError(_no_log(runtime, life, previous=request.previous))
        path = str(runtime.log_path(container, attempt))
        child = runtime.children.get(container)
        pid = child.pid if child is not None and not request.previous else 0
        return LogFound(path=path, container=container, pid=pid)

    @staticmethod
    def _check_container(runtime: PodRuntime, container: str) -> ContainerLife:
        life = runtime.life.container(container)
        if life is None:
            spec = runtime.pod.spec
            names = ", ".join(item.name for item in (*spec.containers, *spec.init_containers))
            raise RefusedError(
                f"container {container} is not one of pod {runtime.pod.metadata.name}: {names}", missing=True
            )
        return life

    def _runtime(self, namespace: str, pod: str) -> PodRuntime:
        runtime = self._kubelet.find(namespace, pod)
        if runtime is None:
            raise RefusedError(f'pods "{pod}" not found in namespace {namespace}', missing=True)
        return runtime

    # -- nodes and the whole --------------------------------------------------------------------------------------

    def enter(self, request: Enter) -> OrderFound:
        """Say how to run a command on a node."""
        if request.node not in self._lab.record.nodes:
            names = ", ".join(self._lab.record.nodes)
            raise RefusedError(f'nodes "{request.node}" not found; this lab has {names}', missing=True)
        order: NodeOrder = node_order(self._lab, request.node, request.command, {})
        return OrderFound(order=asdict(order))

    def status(self, pid: int) -> LabStatus:
        """Say how the lab is."""
        pods = [pod for pod in self._lab.store.view().pods() if not pod.finished]
        problems = [*self._publisher.problems]
        if self._translator.problem:
            problems.append(Problem(path="$", message=self._translator.problem))
        return LabStatus(
            name=self._lab.name,
            pid=pid,
            revision=self._lab.store.revision,
            nodes=tuple(self._node_status(node, pods) for node in self._lab.record.nodes),
            pods=len(pods),
            ready_pods=sum(1 for pod in pods if pod.ready),
            compiled_revision=self._publisher.revision,
            problems=tuple(ProblemText(text=str(item), warning=item.warning) for item in problems),
        )

    def _node_status(self, node: str, pods: list[Pod]) -> NodeStatus:
        mine = [pod for pod in pods if pod.spec.node_name == node]
        agent = self.agents.get(node)
        return NodeStatus(
            name=node,
            addresses=self._lab.node_addresses(node).texts(),
            pods=len(mine),
            ready_pods=sum(1 for pod in mine if pod.ready),
            agent=agent.status() if agent is not None else AgentStatus(state="off"),
        )


def _not_found(kind: Kind, reference: Reference) -> str:
    where = f" in namespace {reference.namespace}" if kind.namespaced and reference.namespace else ""
    return f'{kind.plural} "{reference.name}" not found{where}'


def _no_log(runtime: PodRuntime, life: ContainerLife, *, previous: bool) -> str:
    if previous:
        return f"container {life.spec.name} was not restarted, there is no run before this one"
    waits = f"the pod waits for {runtime.waits_for}" if runtime.waits_for else f"{life.reason} {life.message}".strip()
    return f"container {life.spec.name} has not been started yet: {waits}"
