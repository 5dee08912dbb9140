"""Kinds that make pods: Deployment, ReplicaSet, StatefulSet, DaemonSet, Job, CronJob; owner names and pod templates only."""

from typing import Literal

from weft_contract.objects.metadata import Metadata, Selector
from weft_contract.objects.pod import PodSpec
from weft_contract.objects.shape import Foreign


class PodTemplate(Foreign, frozen=True, kw_only=True):
    """What the pods are made from."""

    metadata: Metadata = Metadata()
    spec: PodSpec = PodSpec()


class WorkloadSpec(Foreign, frozen=True, kw_only=True):
    """What all these kinds share."""

    replicas: int = 1
    selector: Selector = Selector()
    template: PodTemplate = PodTemplate()


class Deployment(Foreign, frozen=True, kw_only=True):
    """Owner of ReplicaSets."""

    api_version: Literal["apps/v1"] = "apps/v1"
    kind: Literal["Deployment"] = "Deployment"
    metadata: Metadata
    spec: WorkloadSpec = WorkloadSpec()


class ReplicaSet(Foreign, frozen=True, kw_only=True):
    """Owner of pods, mostly on behalf of a Deployment."""

    api_version: Literal["apps/v1"] = "apps/v1"
    kind: Literal["ReplicaSet"] = "ReplicaSet"
    metadata: Metadata
    spec: WorkloadSpec = WorkloadSpec()


class StatefulSet(Foreign, frozen=True, kw_only=True):
    """Owner of pods with stable names."""

    api_version: Literal["apps/v1"] = "apps/v1"
    kind: Literal["StatefulSet"] = "StatefulSet"
    metadata: Metadata
    spec: WorkloadSpec = WorkloadSpec()


class DaemonSet(Foreign, frozen=True, kw_only=True):
    """Owner of one pod per node."""

    api_version: Literal["apps/v1"] = "apps/v1"
    kind: Literal["DaemonSet"] = "DaemonSet"
    metadata: Metadata
    spec: WorkloadSpec = WorkloadSpec()


class Job(Foreign, frozen=True, kw_only=True):
    """Owner of pods that end."""

    api_version: Literal["batch/v1"] = "batch/v1"
    kind: Literal["Job"] = "Job"
    metadata: Metadata
    spec: WorkloadSpec = WorkloadSpec()
