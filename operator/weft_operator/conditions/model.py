"""The status of our own kinds, as users read it and as the CRD schemas are generated from it.

Source: Kubernetes API conventions (`metav1.Condition`); Gateway API GEP-713 for the reasons.
"""

from typing import Annotated, Literal

from msgspec import Meta

from weft_contract.objects.shape import Own

MAX_CONDITIONS = 8
"""As the Gateway API bounds them."""
MAX_MESSAGE = 32768
MAX_REASON = 1024


class Condition(Own, frozen=True, kw_only=True):
    """One aspect of the state of this object."""

    type: Annotated[
        str,
        Meta(
            description="`Accepted`: the object is valid and carried out. `ResolvedRefs`: what it refers to is there. "
            "`Programmed`: it is in force on every node that needs it.",
            min_length=1,
            max_length=316,
        ),
    ]
    status: Annotated[Literal["True", "False", "Unknown"], Meta(description="Whether it holds.")]
    observed_generation: Annotated[
        int, Meta(description="The `metadata.generation` that this was said about; an older one is out of date.", ge=0)
    ] = 0
    last_transition_time: Annotated[
        str,
        Meta(
            description="When `status` changed last.",
            max_length=64,
            extra_json_schema={"format": "date-time"},
        ),
    ]
    reason: Annotated[str, Meta(description="Why, in one stable word.", min_length=1, max_length=MAX_REASON)]
    message: Annotated[str, Meta(description="Why, in words, and what to do about it.", max_length=MAX_MESSAGE)]


class ObjectStatus(Own, frozen=True, kw_only=True):
    """What became of this object; written by the operator."""

    conditions: Annotated[
        tuple[Condition, ...],
        Meta(description="Whether it is accepted, and where it is in force.", max_length=MAX_CONDITIONS),
    ] = ()
    target: Annotated[
        str,
        Meta(description="What it is attached to: labels, Services, `namespace` or `mesh`.", max_length=1024),
    ] = ""
    nodes: Annotated[
        str, Meta(description="`n/m`: of `m` nodes that need it, `n` have it in force.", max_length=32)
    ] = ""
    pods: Annotated[int, Meta(description="Pods in the mesh that it holds for.", ge=0)] = 0
    conflicts: Annotated[str, Meta(description="The object that overrides this one; empty: none.", max_length=1024)] = (
        ""
    )
