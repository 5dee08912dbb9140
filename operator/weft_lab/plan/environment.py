"""What a container is started with: arguments, variables, user. Pure.

Source: Kubernetes core/v1: `$(NAME)` is replaced from variables defined before, `$$(` is a literal `$(`, an unknown name
stays as it is; `env` beats `envFrom`; `command` replaces the image's entry point, `args` its arguments.
"""

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from weft_lab.model import ConfigMap, Container, Pod, Secret
from weft_lab.model.pod import KeyRef, PodSpec, ValueSource, Variable, VariablesFrom
from weft_lab.plan.hostnames import hostname

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_REFERENCE: Final = re.compile(r"\$\$|\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)")
_SUBSCRIPT: Final = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")


class ConfigurationError(Exception):
    """The container cannot be started as it is written; the message names field and remedy."""


@dataclass(frozen=True, slots=True)
class Sources:
    """ConfigMaps and Secrets of the pod's namespace, by name."""

    config_maps: Mapping[str, ConfigMap]
    secrets: Mapping[str, Secret]

    def config(self, name: str) -> dict[str, str] | None:
        """Return the entries of a ConfigMap, or None if there is none."""
        found = self.config_maps.get(name)
        return None if found is None else found.data

    def secret(self, name: str) -> dict[str, str] | None:
        """Return the entries of a Secret, decoded, or None if there is none."""
        found = self.secrets.get(name)
        if found is None:
            return None
        decoded = {key: base64.b64decode(value).decode(errors="replace") for key, value in found.data.items()}
        return decoded | found.string_data


@dataclass(frozen=True, slots=True)
class Identity:
    """User and groups of a container."""

    user: int
    group: int
    groups: tuple[int, ...]


def variables(pod: Pod, container: Container, sources: Sources) -> dict[str, str]:
    """Return the environment of a container.

    Raises:
        ConfigurationError: a ConfigMap, Secret or field that is referred to does not exist.
    """
    home = "/root" if identity(pod.spec, container).user == 0 else "/"
    found = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname(pod), "HOME": home}
    for item in container.env_from:
        found |= _imported(item, sources)
    for variable in container.env:
        value = _value(variable, pod, sources)
        if value is not None:
            found[variable.name] = expand(value, found) if variable.value_from is None else value
    return found


def arguments(container: Container, entrypoint: tuple[str, ...], environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the argument vector: `command` or the image's entry point, then `args`."""
    words = (*(container.command or entrypoint), *container.args)
    return tuple(expand(word, environment) for word in words)


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by the variable's value."""

    def put(match: re.Match[str]) -> str:
        if match.group(0) == "$$":
            return "$"
        return environment.get(match.group(1), match.group(0))

    return _REFERENCE.sub(put, text)


def identity(spec: PodSpec, container: Container) -> Identity:
    """Return who a container runs as.

    Raises:
        ConfigurationError: it must not be root and nothing says who else.
    """
    own, shared = container.security_context, spec.security_context
    user = own.run_as_user if own.run_as_user is not None else (shared.run_as_user or 0)
    group = own.run_as_group if own.run_as_group is not None else (shared.run_as_group or 0)
    non_root = own.run_as_non_root if own.run_as_non_root is not None else shared.run_as_non_root
    if non_root and user == 0:
        raise ConfigurationError(
            "runAsNonRoot is set and the container would run as root; set securityContext.runAsUser"
        )
    extra = {*shared.supplemental_groups} | ({shared.fs_group} if shared.fs_group is not None else set())
    return Identity(user, group, tuple(sorted(extra | {group})))


def _imported(item: VariablesFrom, sources: Sources) -> dict[str, str]:
    found: dict[str, str] = {}
    pairs = (
        ("ConfigMap", item.config_map_ref, sources.config),
        ("Secret", item.secret_ref, sources.secret),
    )
    for kind, reference, read in pairs:
        if reference is None:
            continue
        entries = read(reference.name)
        if entries is None and not reference.optional:
            raise ConfigurationError(f"{kind} {reference.name!r} of envFrom does not exist in this namespace; apply it")
        found |= {item.prefix + key: value for key, value in (entries or {}).items()}
    return found


def _value(variable: Variable, pod: Pod, sources: Sources) -> str | None:
    source = variable.value_from
    if source is None:
        return variable.value
    if source.field_ref is not None:
        return field_value(pod, source.field_ref.field_path)
    return _referred(source, sources, variable.name)


def _referred(source: ValueSource, sources: Sources, name: str) -> str | None:
    for kind, reference, read in _key_references(source, sources):
        entries = read.get(reference.key) if read is not None else None
        if entries is None and not reference.optional:
            message = (
                f"variable {name}: {kind} {reference.name!r} has no key {reference.key!r} in this namespace; apply it"
            )
            raise ConfigurationError(message)
        return entries
    raise ConfigurationError(
        f"variable {name}: valueFrom names no source that the lab has; use fieldRef or a key reference"
    )


def _key_references(source: ValueSource, sources: Sources) -> Iterator[tuple[str, KeyRef, dict[str, str] | None]]:
    if source.config_map_key_ref is not None:
        yield "ConfigMap", source.config_map_key_ref, sources.config(source.config_map_key_ref.name)
    if source.secret_key_ref is not None:
        yield "Secret", source.secret_key_ref, sources.secret(source.secret_key_ref.name)


def field_value(pod: Pod, path: str) -> str:
    """Return a fact of the pod by its field path (the downward API).

    Raises:
        ConfigurationError: the path is not one that the downward API has.
    """
    subscript = _SUBSCRIPT.fullmatch(path)
    if subscript is not None:
        of = pod.metadata.labels if subscript.group(1) == "labels" else pod.metadata.annotations
        return of.get(subscript.group(2), "")
    facts = {
        "metadata.name": pod.metadata.name,
        "metadata.namespace": pod.metadata.namespace,
        "metadata.uid": pod.metadata.uid,
        "spec.nodeName": pod.spec.node_name,
        "spec.serviceAccountName": pod.spec.account,
        "status.hostIP": pod.status.host_ip,
        "status.hostIPs": ",".join(item.ip for item in pod.status.host_ips),
        "status.podIP": pod.status.pod_ip,
        "status.podIPs": ",".join(pod.addresses),
    }
    if path not in facts:
        raise ConfigurationError(f"fieldRef {path!r} is not a fact of a pod; there are: {', '.join(facts)}")
    return facts[path]
