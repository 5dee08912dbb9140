"""Pods: what is run, how it is probed, and what is told about it. Fields as in the Kubernetes core/v1 API."""

from typing import Literal

import msgspec

from weft_lab.model.meta import Condition, Metadata, Model

RestartPolicy = Literal["Always", "OnFailure", "Never"]
Phase = Literal["Pending", "Running", "Succeeded", "Failed"]


class KeyRef(Model, frozen=True, kw_only=True):
    """One entry of a ConfigMap or Secret."""

    key: str
    name: str = ""
    optional: bool = False


class FieldRef(Model, frozen=True, kw_only=True):
    """A fact of the pod itself (the downward API)."""

    field_path: str
    api_version: str = "v1"


class ValueSource(Model, frozen=True, kw_only=True):
    """Where the value of a variable comes from; exactly one is set."""

    field_ref: FieldRef | None = None
    config_map_key_ref: KeyRef | None = None
    secret_key_ref: KeyRef | None = None


class Variable(Model, frozen=True, kw_only=True):
    """An environment variable."""

    name: str
    value: str = ""
    value_from: ValueSource | None = None


class MapRef(Model, frozen=True, kw_only=True):
    """A ConfigMap or Secret, taken whole."""

    name: str = ""
    optional: bool = False


class VariablesFrom(Model, frozen=True, kw_only=True):
    """All entries of a ConfigMap or Secret as variables."""

    prefix: str = ""
    config_map_ref: MapRef | None = None
    secret_ref: MapRef | None = None


class ContainerPort(Model, frozen=True, kw_only=True):
    """A port that the container declares; it names the port and does not open it."""

    container_port: int
    name: str = ""
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"


class VolumeMount(Model, frozen=True, kw_only=True):
    """Where a volume appears in a container."""

    name: str
    mount_path: str
    read_only: bool = False
    sub_path: str = ""


class HttpHeader(Model, frozen=True, kw_only=True):
    """A header field that a probe sends."""

    name: str
    value: str


class HttpGet(Model, frozen=True, kw_only=True):
    """An HTTP probe; statuses 200-399 are success."""

    port: int | str
    path: str = "/"
    host: str = ""
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"
    http_headers: tuple[HttpHeader, ...] = ()


class TcpSocket(Model, frozen=True, kw_only=True):
    """A probe that only connects."""

    port: int | str
    host: str = ""


class Exec(Model, frozen=True, kw_only=True):
    """A command in the container; exit status 0 is success."""

    command: tuple[str, ...] = ()


class Grpc(Model, frozen=True, kw_only=True):
    """A `grpc.health.v1.Health/Check` call."""

    port: int
    service: str = ""


class Probe(Model, frozen=True, kw_only=True):
    """One probe; exactly one handler is set. Defaults are Kubernetes'."""

    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    exec: Exec | None = None
    grpc: Grpc | None = None
    initial_delay_seconds: int = 0
    period_seconds: int = 10
    timeout_seconds: int = 1
    success_threshold: int = 1
    failure_threshold: int = 3


class Sleep(Model, frozen=True, kw_only=True):
    """A pause."""

    seconds: int


class Hook(Model, frozen=True, kw_only=True):
    """What is done before a container is told to end: one of the two."""

    exec: Exec | None = None
    sleep: Sleep | None = None


class Lifecycle(Model, frozen=True, kw_only=True):
    """Hooks of a container."""

    pre_stop: Hook | None = None


class Capabilities(Model, frozen=True, kw_only=True):
    """Capabilities added to and dropped from a container runtime's usual set."""

    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


class SecurityContext(Model, frozen=True, kw_only=True):
    """Who a container runs as."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    read_only_root_filesystem: bool = False
    allow_privilege_escalation: bool | None = None
    privileged: bool = False
    capabilities: Capabilities = Capabilities()


class Sysctl(Model, frozen=True, kw_only=True):
    """A kernel setting of the pod's network namespace."""

    name: str
    value: str


class PodSecurityContext(Model, frozen=True, kw_only=True):
    """Who a pod's containers run as, where they do not say it themselves."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    fs_group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    sysctls: tuple[Sysctl, ...] = ()


class Container(Model, frozen=True, kw_only=True):
    """A program of a pod."""

    name: str
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[Variable, ...] = ()
    env_from: tuple[VariablesFrom, ...] = ()
    working_dir: str = ""
    ports: tuple[ContainerPort, ...] = ()
    volume_mounts: tuple[VolumeMount, ...] = ()
    security_context: SecurityContext = SecurityContext()
    startup_probe: Probe | None = None
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    lifecycle: Lifecycle = Lifecycle()
    restart_policy: Literal["Always"] | None = None
    """On init containers alone: it stays beside the others (a native sidecar)."""


class KeyToPath(Model, frozen=True, kw_only=True):
    """Which entry becomes which file."""

    key: str
    path: str
    mode: int | None = None


class ConfigMapVolume(Model, frozen=True, kw_only=True):
    """A ConfigMap as files."""

    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    default_mode: int = 0o644
    optional: bool = False


class SecretVolume(Model, frozen=True, kw_only=True):
    """A Secret as files."""

    secret_name: str = ""
    items: tuple[KeyToPath, ...] = ()
    default_mode: int = 0o644
    optional: bool = False


class EmptyDir(Model, frozen=True, kw_only=True):
    """A directory that lives as long as the pod."""

    medium: str = ""


class HostPath(Model, frozen=True, kw_only=True):
    """A path of this machine."""

    path: str
    type: str = ""


class Volume(Model, frozen=True, kw_only=True):
    """A volume; a source the lab does not know is reported and stands for an empty directory."""

    name: str
    empty_dir: EmptyDir | None = None
    config_map: ConfigMapVolume | None = None
    secret: SecretVolume | None = None
    host_path: HostPath | None = None


class HostAlias(Model, frozen=True, kw_only=True):
    """A line of the pod's hosts file."""

    ip: str
    hostnames: tuple[str, ...] = ()


class PodSpec(Model, frozen=True, kw_only=True):
    """What a pod is to be."""

    containers: tuple[Container, ...]
    init_containers: tuple[Container, ...] = ()
    restart_policy: RestartPolicy = "Always"
    node_name: str = ""
    node_selector: dict[str, str] = msgspec.field(default_factory=dict)
    service_account_name: str = ""
    service_account: str = ""
    """Old name of `serviceAccountName`."""
    hostname: str = ""
    subdomain: str = ""
    host_network: bool = False
    host_aliases: tuple[HostAlias, ...] = ()
    security_context: PodSecurityContext = PodSecurityContext()
    volumes: tuple[Volume, ...] = ()
    termination_grace_period_seconds: int = 30

    @property
    def account(self) -> str:
        """Service account that the pod runs as."""
        return self.service_account_name or self.service_account or "default"


class Waiting(Model, frozen=True, kw_only=True):
    """A container that is not running yet."""

    reason: str
    message: str = ""


class Running(Model, frozen=True, kw_only=True):
    """A container that runs."""

    started_at: str


class Terminated(Model, frozen=True, kw_only=True):
    """A container that ended."""

    exit_code: int
    reason: str
    message: str = ""
    signal: int = 0
    finished_at: str = ""


class ContainerState(Model, frozen=True, kw_only=True):
    """Exactly one is set."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(Model, frozen=True, kw_only=True, omit_defaults=False):
    """What became of a container."""

    name: str
    ready: bool
    started: bool
    restart_count: int
    state: ContainerState
    image: str = ""
    last_state: ContainerState = ContainerState()


class HostIP(Model, frozen=True, kw_only=True):
    """An address, as `status.podIPs` and `status.hostIPs` have it."""

    ip: str


class PodStatus(Model, frozen=True, kw_only=True):
    """What became of a pod."""

    phase: Phase = "Pending"
    reason: str = ""
    message: str = ""
    conditions: tuple[Condition, ...] = ()
    host_ip: str = msgspec.field(name="hostIP", default="")
    host_ips: tuple[HostIP, ...] = msgspec.field(name="hostIPs", default=())
    pod_ip: str = msgspec.field(name="podIP", default="")
    pod_ips: tuple[HostIP, ...] = msgspec.field(name="podIPs", default=())
    start_time: str | None = None
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()

    def condition(self, kind: str) -> bool:
        """Tell whether a condition is True."""
        return any(item.type == kind and item.status == "True" for item in self.conditions)


class Pod(Model, frozen=True, kw_only=True):
    """A pod."""

    metadata: Metadata
    spec: PodSpec
    status: PodStatus = PodStatus()

    @property
    def ready(self) -> bool:
        """Whether it may be sent traffic."""
        return self.status.condition("Ready") and self.metadata.deletion_timestamp is None

    @property
    def finished(self) -> bool:
        """Whether it will never run again."""
        return self.status.phase in {"Succeeded", "Failed"}

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its addresses; none before its network exists."""
        return tuple(item.ip for item in self.status.pod_ips)
