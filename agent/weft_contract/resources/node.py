"""Facts of the node itself, the roots that peers are verified with, and what is told about traffic."""

from typing import Literal

from weft_contract.resources.shape import Shape


class Node(Shape, frozen=True, kw_only=True, tag_field="kind", tag="Node"):
    """The node this document is for. Key: its name; exactly one per document."""

    name: str
    trust_domain: str
    cluster_domain: str = "cluster.local"
    addresses: tuple[str, ...] = ()
    """The node's own addresses, both families: probes come from these."""
    zone: str = ""
    region: str = ""


class TrustBundle(Shape, frozen=True, kw_only=True, tag_field="kind", tag="TrustBundle"):
    """Roots of one trust domain. Key: the trust domain. The bundle is chosen by domain before any chain is checked."""

    trust_domain: str
    roots: tuple[str, ...]
    """PEM certificates, at least one; two or more while a root is being replaced."""


class Telemetry(Shape, frozen=True, kw_only=True, tag_field="kind", tag="Telemetry"):
    """What is logged and shown. Key: `default`; without the resource these defaults hold."""

    access_log: Literal["off", "errors", "all"] = "errors"
    """`errors`: refusals, 5xx and connections that broke."""
    access_log_sampling_percent: float = 100.0
    explain_refusals: Literal["never", "mesh", "always"] = "mesh"
    """Who is told policy and rule of a refusal: nobody, callers with a verified identity, everybody."""
