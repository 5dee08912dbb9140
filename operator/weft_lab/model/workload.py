"""Objects that make pods: Deployment, ReplicaSet, StatefulSet, DaemonSet, Job. Fields as in apps/v1 and batch/v1."""

from typing import Literal

from weft_lab.model.meta import LabelSelector, Metadata, Model
from weft_lab.model.pod import PodSpec


class PodTemplate(Model, frozen=True, kw_only=True):
    """What the pods of a workload are to be."""

    metadata: Metadata = Metadata()
    spec: PodSpec


class Strategy(Model, frozen=True, kw_only=True):
    """How a Deployment replaces its pods."""

    type: Literal["RollingUpdate", "Recreate"] = "RollingUpdate"


class DeploymentSpec(Model, frozen=True, kw_only=True):
    """What a Deployment is to be."""

    selector: LabelSelector
    template: PodTemplate
    replicas: int = 1
    strategy: Strategy = Strategy()


class ReplicaStatus(Model, frozen=True, kw_only=True):
    """Counts of a workload's pods."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0


class Deployment(Model, frozen=True, kw_only=True):
    """Any number of equal pods, replaced in turn when the template changes."""

    metadata: Metadata
    spec: DeploymentSpec
    status: ReplicaStatus = ReplicaStatus()


class ReplicaSetSpec(Model, frozen=True, kw_only=True):
    """What a ReplicaSet is to be."""

    selector: LabelSelector
    template: PodTemplate
    replicas: int = 1


class ReplicaSet(Model, frozen=True, kw_only=True):
    """Any number of equal pods; a changed template holds for new pods only."""

    metadata: Metadata
    spec: ReplicaSetSpec
    status: ReplicaStatus = ReplicaStatus()


class StatefulSetSpec(Model, frozen=True, kw_only=True):
    """What a StatefulSet is to be."""

    selector: LabelSelector
    template: PodTemplate
    service_name: str = ""
    replicas: int = 1
    pod_management_policy: Literal["OrderedReady", "Parallel"] = "OrderedReady"


class StatefulSet(Model, frozen=True, kw_only=True):
    """Numbered pods with names that stay."""

    metadata: Metadata
    spec: StatefulSetSpec
    status: ReplicaStatus = ReplicaStatus()


class DaemonSetSpec(Model, frozen=True, kw_only=True):
    """What a DaemonSet is to be."""

    selector: LabelSelector
    template: PodTemplate


class DaemonSetStatus(Model, frozen=True, kw_only=True):
    """Counts of a DaemonSet's pods."""

    observed_generation: int = 0
    desired_number_scheduled: int = 0
    current_number_scheduled: int = 0
    updated_number_scheduled: int = 0
    number_ready: int = 0


class DaemonSet(Model, frozen=True, kw_only=True):
    """One pod on each node that the template's node selector names."""

    metadata: Metadata
    spec: DaemonSetSpec
    status: DaemonSetStatus = DaemonSetStatus()


class JobSpec(Model, frozen=True, kw_only=True):
    """What a Job is to be."""

    template: PodTemplate
    selector: LabelSelector | None = None
    completions: int = 1
    parallelism: int = 1
    backoff_limit: int = 6


class JobStatus(Model, frozen=True, kw_only=True):
    """What became of a Job."""

    active: int = 0
    succeeded: int = 0
    failed: int = 0
    complete: bool = False
    gave_up: bool = False


class Job(Model, frozen=True, kw_only=True):
    """Pods that run to their end."""

    metadata: Metadata
    spec: JobSpec
    status: JobStatus = JobStatus()
