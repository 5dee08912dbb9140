"""From a pod's spec to the order for one of its containers: variables, arguments, volumes. Reads and writes files."""

import base64
import binascii
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from weft_lab.container.order import Bind, PodOrder, Program
from weft_lab.machine.namespaces import namespace_path
from weft_lab.machine.records import write_atomically
from weft_lab.model import Container, Pod
from weft_lab.model.check import is_demo_image
from weft_lab.model.pod import KeyToPath, Volume
from weft_lab.plan.environment import ConfigurationError, Sources, arguments, identity, variables
from weft_lab.plan.hostnames import hostname, resolv_conf
from weft_lab.small_program import HOLDER

DEMO_ENTRYPOINT: Final = (sys.executable, "-P", "-m", "weft_lab.demo")


def layer_directory(directory: Path, container: str, attempt: int) -> Path:
    """Return where one run of a container keeps what it writes."""
    return directory / "containers" / container / str(attempt)


def pod_order(
    pod: Pod, container: Container, attempt: int, sources: Sources, directory: Path, namespace: str
) -> PodOrder:
    """Return the order that starts a container, and prepare its volumes.

    Args:
        pod: with its addresses in its status.
        container: one of its containers.
        attempt: number of this run of it.
        sources: ConfigMaps and Secrets of the namespace.
        directory: the pod's directory.
        namespace: name of its network namespace.

    Raises:
        ConfigurationError: something that the spec refers to is not there.
        OSError: files cannot be written.
    """
    environment = container_variables(pod, container, sources)
    entrypoint = DEMO_ENTRYPOINT if is_demo_image(container.image) else ()
    layer = layer_directory(directory, container.name, attempt)
    layer.mkdir(parents=True, exist_ok=True)
    return PodOrder(
        namespace=str(namespace_path(namespace)),
        hostname=hostname(pod),
        directory=str(layer),
        hosts=str(directory / "hosts"),
        resolv_conf=resolv_conf(pod.metadata.namespace),
        binds=tuple(_binds(pod, container, sources, directory)),
        program=container_program(pod, container, arguments(container, entrypoint, environment), environment),
        read_only_root=container.security_context.read_only_root_filesystem,
    )


def container_variables(pod: Pod, container: Container, sources: Sources) -> dict[str, str]:
    """Return the environment of a container, with what its image sets.

    Raises:
        ConfigurationError: something that a variable refers to is not there.
    """
    own = variables(pod, container, sources)
    if not is_demo_image(container.image):
        return own
    image = {
        "PYTHONPATH": HOLDER,
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "POD_NAME": pod.metadata.name,
        "POD_NAMESPACE": pod.metadata.namespace,
        "NODE_NAME": pod.spec.node_name,
    }
    path = f"{Path(sys.executable).parent}:{own['PATH']}"
    return image | own | {"PATH": path}


def container_program(pod: Pod, container: Container, words: tuple[str, ...], environment: dict[str, str]) -> Program:
    """Return a program that runs as a container's user, with its capabilities.

    Raises:
        ConfigurationError: the user contradicts the security context.
    """
    who, security = identity(pod.spec, container), container.security_context
    return Program(
        arguments=words,
        environment=environment,
        directory=container.working_dir or "/",
        user=who.user,
        group=who.group,
        groups=who.groups,
        add_capabilities=security.capabilities.add,
        drop_capabilities=security.capabilities.drop,
        privileged=security.privileged,
        no_new_privileges=security.allow_privilege_escalation is False,
    )


def _binds(pod: Pod, container: Container, sources: Sources, directory: Path) -> Iterator[Bind]:
    volumes = {volume.name: volume for volume in pod.spec.volumes}
    for mount in container.volume_mounts:
        volume = volumes[mount.name]
        source = _volume(pod, volume, sources, directory / "volumes" / volume.name)
        if mount.sub_path:
            source = source / mount.sub_path
            if not source.exists():
                source.mkdir(parents=True)
        projected = volume.config_map is not None or volume.secret is not None
        yield Bind(str(source), mount.mount_path, mount.read_only or projected)


def _volume(pod: Pod, volume: Volume, sources: Sources, place: Path) -> Path:
    """Make a volume's directory, once for all containers of the pod."""
    if volume.host_path is not None:
        return _host_path(volume.host_path.path, volume.host_path.type)
    if not place.exists():
        place.mkdir(parents=True)
        place.chmod(0o777)  # as the kubelet makes an emptyDir
        if pod.spec.security_context.fs_group is not None:
            os.chown(place, 0, pod.spec.security_context.fs_group)
            place.chmod(0o2777)
    if volume.config_map is not None:
        entries = _config_map(volume.config_map.name, sources, optional=volume.config_map.optional)
        _project(entries, volume.config_map.items, volume.config_map.default_mode, place)
    elif volume.secret is not None:
        entries = _secret(volume.secret.secret_name, sources, optional=volume.secret.optional)
        _project(entries, volume.secret.items, volume.secret.default_mode, place)
    return place


def _host_path(path: str, kind: str) -> Path:
    found = Path(path)
    if kind == "DirectoryOrCreate":
        found.mkdir(parents=True, exist_ok=True)
    if not found.exists():
        raise ConfigurationError(
            f"hostPath {path!r} does not exist on this machine; make it, or use type DirectoryOrCreate"
        )
    return found


def _config_map(name: str, sources: Sources, *, optional: bool) -> dict[str, bytes]:
    found = sources.config_maps.get(name)
    if found is None:
        if optional:
            return {}
        raise ConfigurationError(f"ConfigMap {name!r} of a volume does not exist in this namespace; apply it")
    binary = {key: _decoded(value, f"ConfigMap {name!r}") for key, value in found.binary_data.items()}
    return {key: value.encode() for key, value in found.data.items()} | binary


def _secret(name: str, sources: Sources, *, optional: bool) -> dict[str, bytes]:
    found = sources.secrets.get(name)
    if found is None:
        if optional:
            return {}
        raise ConfigurationError(f"Secret {name!r} of a volume does not exist in this namespace; apply it")
    plain = {key: value.encode() for key, value in found.string_data.items()}
    return {key: _decoded(value, f"Secret {name!r}") for key, value in found.data.items()} | plain


def _decoded(value: str, owner: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as exc:
        raise ConfigurationError(f"{owner} has a value that is not base64") from exc


def _project(entries: dict[str, bytes], items: tuple[KeyToPath, ...], default_mode: int, place: Path) -> None:
    chosen = items or tuple(KeyToPath(key=key, path=key) for key in entries)
    for item in chosen:
        if item.key not in entries:
            raise ConfigurationError(f"volume item {item.key!r} is not in the ConfigMap or Secret")
        if item.path.startswith("/") or ".." in item.path.split("/"):
            raise ConfigurationError(f"volume item path {item.path!r} must be relative and without '..'")
        file = place / item.path
        file.parent.mkdir(parents=True, exist_ok=True)
        mode = item.mode if item.mode is not None else default_mode
        write_atomically(file, entries[item.key], mode)
        file.chmod(mode)
