"""What the Mesh object decides for everybody, read once; a broken Mesh falls back to what refuses more."""

from dataclasses import dataclass
from typing import Final, Literal

from weft_contract.identity import IdentityGrammarError, check_trust_domain
from weft_contract.objects import DEFAULT_TRUST_DOMAIN, MESH_NAME
from weft_contract.objects.mesh import MeshSpec
from weft_contract.resources.node import Telemetry
from weft_contract.resources.workload import MtlsMode
from weft_operator.compile.view import ClusterView

_ACCESS_LOG: Final[dict[str, Literal["off", "errors", "all"]]] = {"Off": "off", "Errors": "errors", "All": "all"}
_EXPLAIN: Final[dict[str, Literal["never", "mesh", "always"]]] = {"Never": "never", "Mesh": "mesh", "Always": "always"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of the mesh."""

    trust_domain: str
    cluster_domain: str
    default_mode: MtlsMode
    telemetry: Telemetry


def read_settings(view: ClusterView) -> Settings:
    """Read the Mesh object.

    A Mesh that is broken keeps the names that could be read, because a changed trust domain would make every identity
    another one, and its default mode is STRICT.
    """
    spec = view.mesh.spec if view.mesh is not None else MeshSpec()
    broken = ("Mesh", MESH_NAME) in view.broken
    return Settings(
        trust_domain=_trust_domain(spec.trust_domain),
        cluster_domain=spec.cluster_domain,
        default_mode="STRICT" if broken else spec.default_mode,
        telemetry=Telemetry(
            access_log=_ACCESS_LOG[spec.telemetry.access_log],
            access_log_sampling_percent=spec.telemetry.access_log_sampling_percent,
            explain_refusals=_EXPLAIN[spec.explain_refusals],
        ),
    )


def _trust_domain(text: str) -> str:
    try:
        return check_trust_domain(text)
    except IdentityGrammarError:
        return DEFAULT_TRUST_DOMAIN
