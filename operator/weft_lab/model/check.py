"""What shape alone does not say: names, references inside an object, and what the lab needs to run a container. Pure."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from weft_contract.problems import Problem
from weft_lab.model.meta import Key, LabelSelector
from weft_lab.model.objects import LabObject
from weft_lab.model.pod import Container, Pod, PodSpec, Probe, Volume
from weft_lab.model.service import Service
from weft_lab.model.workload import DaemonSet, Deployment, Job, PodTemplate, ReplicaSet, StatefulSet

DEMO_IMAGE: Final = "weft.dev/demo"
"""Stands for the lab's own programs, `python -m weft_lab.demo`."""

_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_ENV_NAME: Final = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_LABEL_KINDS: Final = frozenset({"Namespace", "Service"})


def check(key: Key, found: LabObject) -> list[Problem]:
    """Return what is wrong with an object of the right shape; sources are filled in by the caller."""
    problems = list(_name_problems(key))
    match found:
        case Pod():
            problems += _pod_problems(found.spec, "$.spec")
        case Deployment() | ReplicaSet() | StatefulSet() | DaemonSet():
            problems += _template_problems(found.spec.template, found.spec.selector)
        case Job():
            problems += _job_problems(found)
        case Service():
            problems += _service_problems(found)
        case _:
            pass
    return problems


def is_demo_image(image: str) -> bool:
    """Tell whether an image name stands for the lab's own programs."""
    return image == DEMO_IMAGE or image.startswith((f"{DEMO_IMAGE}:", f"{DEMO_IMAGE}@"))


def _name_problems(key: Key) -> Iterator[Problem]:
    if not key.name:
        yield Problem(path="$.metadata.name", message="required field 'name' is missing", remedy="add metadata.name")
        return
    grammar = _LABEL if key.kind in _LABEL_KINDS else _SUBDOMAIN
    if len(key.name) > 253 or not grammar.fullmatch(key.name):
        message = f"{key.name!r:.80} is not a valid name"
        yield Problem(
            path="$.metadata.name", message=message, remedy="use a-z, 0-9 and '-', beginning and ending alphanumeric"
        )
    if key.namespace and not _LABEL.fullmatch(key.namespace):
        yield Problem(path="$.metadata.namespace", message=f"{key.namespace!r:.80} is not a valid namespace name")


def _template_problems(template: PodTemplate, selector: LabelSelector) -> Iterator[Problem]:
    yield from _pod_problems(template.spec, "$.spec.template.spec")
    if not selector.match_labels and not selector.match_expressions:
        yield Problem(path="$.spec.selector", message="is empty", remedy="select the labels of the template")
    elif not selector.matches(template.metadata.labels):
        message = "does not select the template's labels"
        yield Problem(path="$.spec.selector", message=message, remedy="add them to spec.template.metadata.labels")
    if template.spec.restart_policy != "Always":
        path = "$.spec.template.spec.restartPolicy"
        yield Problem(path=path, message="must be Always here", remedy="remove it, or use a Job or a Pod")


def _job_problems(job: Job) -> Iterator[Problem]:
    yield from _pod_problems(job.spec.template.spec, "$.spec.template.spec")
    if job.spec.template.spec.restart_policy == "Always":
        path = "$.spec.template.spec.restartPolicy"
        yield Problem(path=path, message="must be Never or OnFailure in a Job", remedy="add restartPolicy: Never")


def _pod_problems(spec: PodSpec, path: str) -> Iterator[Problem]:
    if not spec.containers:
        yield Problem(path=f"{path}.containers", message="is empty", remedy="give at least one container")
    everyone = (*spec.init_containers, *spec.containers)
    yield from _doubles((item.name for item in everyone), f"{path}.containers", "container")
    yield from _doubles((item.name for item in spec.volumes), f"{path}.volumes", "volume")
    for field, containers in (("initContainers", spec.init_containers), ("containers", spec.containers)):
        for index, container in enumerate(containers):
            yield from _container_problems(container, spec, f"{path}.{field}[{index}]")
    for index, sysctl in enumerate(spec.security_context.sysctls):
        if not sysctl.name.startswith("net."):
            message = f"{sysctl.name!r:.80} is not a setting of a network namespace, the lab would set it for the whole machine"
            yield Problem(path=f"{path}.securityContext.sysctls[{index}]", message=message, remedy="use net.* only")
    for index, volume in enumerate(spec.volumes):
        yield from _volume_problems(volume, f"{path}.volumes[{index}]")


def _container_problems(container: Container, spec: PodSpec, path: str) -> Iterator[Problem]:
    if not _LABEL.fullmatch(container.name):
        yield Problem(path=f"{path}.name", message=f"{container.name!r:.80} is not a valid container name")
    if not container.command and not is_demo_image(container.image):
        message = f"image {container.image!r:.120} is not pulled in the lab, and there is no command to run instead"
        remedy = f"give `command` (it runs with this machine's files), or use image {DEMO_IMAGE}"
        yield Problem(path=f"{path}.image", message=message, remedy=remedy)
    volumes = {volume.name for volume in spec.volumes}
    for index, mount in enumerate(container.volume_mounts):
        place = f"{path}.volumeMounts[{index}]"
        if mount.name not in volumes:
            yield Problem(
                path=f"{place}.name", message=f"there is no volume {mount.name!r}", remedy="add it to spec.volumes"
            )
        if not mount.mount_path.startswith("/") or ".." in mount.mount_path.split("/"):
            yield Problem(path=f"{place}.mountPath", message="must be an absolute path without '..'")
        if mount.sub_path.startswith("/") or ".." in mount.sub_path.split("/"):
            yield Problem(path=f"{place}.subPath", message="must be a relative path without '..'")
    for index, variable in enumerate(container.env):
        if not _ENV_NAME.fullmatch(variable.name):
            yield Problem(path=f"{path}.env[{index}].name", message=f"{variable.name!r:.80} is not a variable name")
    hook = container.lifecycle.pre_stop
    if hook is not None and (hook.exec is None) == (hook.sleep is None):
        yield Problem(path=f"{path}.lifecycle.preStop", message="needs exactly one of exec and sleep in the lab")
    for name, probe in _probes(container):
        yield from _probe_problems(probe, container, f"{path}.{name}")


def _probes(container: Container) -> Iterator[tuple[str, Probe]]:
    named = (
        ("startupProbe", container.startup_probe),
        ("livenessProbe", container.liveness_probe),
        ("readinessProbe", container.readiness_probe),
    )
    yield from ((name, probe) for name, probe in named if probe is not None)


def _probe_problems(probe: Probe, container: Container, path: str) -> Iterator[Problem]:
    handlers = [item for item in (probe.http_get, probe.tcp_socket, probe.exec, probe.grpc) if item is not None]
    if len(handlers) != 1:
        remedy = "set one of httpGet, tcpSocket, exec, grpc"
        yield Problem(path=path, message=f"has {len(handlers)} handlers, needs exactly one", remedy=remedy)
    if min(probe.period_seconds, probe.timeout_seconds, probe.success_threshold, probe.failure_threshold) < 1:
        message = "periodSeconds, timeoutSeconds, successThreshold and failureThreshold must be at least 1"
        yield Problem(path=path, message=message)
    if probe.success_threshold != 1 and not path.endswith("readinessProbe"):
        yield Problem(path=f"{path}.successThreshold", message="must be 1 for startup and liveness probes")
    for handler in (probe.http_get, probe.tcp_socket):
        if handler is not None and isinstance(handler.port, str) and container_port(container, handler.port) is None:
            remedy = "name it in the container's ports, or give its number"
            yield Problem(path=path, message=f"port {handler.port!r} is not declared", remedy=remedy)


def container_port(container: Container, port: int | str) -> int | None:
    """Return the number of a port that may be given by name; None for an undeclared name."""
    if isinstance(port, int):
        return port
    if port.isdecimal():
        return int(port)
    return next((item.container_port for item in container.ports if item.name == port), None)


def _volume_problems(volume: Volume, path: str) -> Iterator[Problem]:
    if not any((volume.empty_dir, volume.config_map, volume.secret, volume.host_path)):
        message = f"volume {volume.name!r} is of a kind the lab does not have, an empty directory stands for it"
        remedy = "use emptyDir, configMap, secret or hostPath"
        yield Problem(path=path, message=message, remedy=remedy, warning=True)


def _service_problems(service: Service) -> Iterator[Problem]:
    spec = service.spec
    if spec.type == "ExternalName":
        message = "ExternalName Services need DNS, which the lab does not have; the name will not resolve"
        yield Problem(path="$.spec.type", message=message, warning=True)
    elif spec.type != "ClusterIP":
        message = f"type {spec.type} is a ClusterIP Service in the lab"
        remedy = "reach it from a node: `weft lab node-exec NODE -- …`"
        yield Problem(path="$.spec.type", message=message, remedy=remedy, warning=True)
    if not spec.ports and spec.type != "ExternalName" and not service.headless:
        yield Problem(path="$.spec.ports", message="is empty", remedy="give at least one port")
    yield from _doubles((f"{port.port}/{port.protocol}" for port in spec.ports), "$.spec.ports", "port")
    if len(spec.ports) > 1:
        yield from _doubles((port.name for port in spec.ports), "$.spec.ports", "port name")
    for index, port in enumerate(spec.ports):
        if not 0 < port.port < 65536:
            yield Problem(path=f"$.spec.ports[{index}].port", message=f"{port.port} is not a port number")


def _doubles(names: Iterable[str], path: str, what: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            yield Problem(path=path, message=f"{what} {name!r} is there twice", remedy="rename or remove one")
        seen.add(name)
