"""Mesh: the one object, named `default` and without a namespace, that holds for all: trust domain, defaults, telemetry."""

from typing import Annotated, Final, Literal

from msgspec import Meta, field

from weft_contract.labels import API_VERSION
from weft_contract.objects.metadata import Metadata
from weft_contract.objects.shape import Own

MESH_NAME: Final = "default"
DEFAULT_TRUST_DOMAIN: Final = "cluster.local"
"""As Istio and Linkerd have it, so that their users' policies name the same principals."""


class MeshTelemetry(Own, frozen=True, kw_only=True):
    """What is logged."""

    access_log: Annotated[
        Literal["Off", "Errors", "All"],
        Meta(description="`Errors`: refusals, status 5xx and connections that broke."),
    ] = "Errors"
    access_log_sampling_percent: Annotated[
        float, Meta(description="Share of the records of `accessLog` that is written.", ge=0, le=100)
    ] = 100.0


class MeshSpec(Own, frozen=True, kw_only=True):
    """What holds for all."""

    trust_domain: Annotated[
        str,
        Meta(
            description="First part of every identity of this mesh; a change re-issues every certificate.",
            min_length=1,
            max_length=255,
        ),
    ] = DEFAULT_TRUST_DOMAIN
    cluster_domain: Annotated[str, Meta(description="DNS suffix of Services.", min_length=1, max_length=253)] = (
        "cluster.local"
    )
    default_mode: Annotated[
        Literal["STRICT", "PERMISSIVE", "DISABLE"],
        Meta(description="Where no PeerAuthentication says otherwise."),
    ] = "PERMISSIVE"
    explain_refusals: Annotated[
        Literal["Never", "Mesh", "Always"],
        Meta(description="Who is told policy and rule of a refusal: nobody, authenticated callers, everybody."),
    ] = "Mesh"
    telemetry: Annotated[MeshTelemetry, Meta(description="What is logged.")] = MeshTelemetry()


class Mesh(Own, frozen=True, kw_only=True):
    """Settings of the mesh."""

    api_version: Literal["weft.dev/v1alpha1"] = API_VERSION
    kind: Literal["Mesh"] = "Mesh"
    metadata: Metadata
    spec: MeshSpec = MeshSpec()
    status: dict[str, object] = field(default_factory=dict)
