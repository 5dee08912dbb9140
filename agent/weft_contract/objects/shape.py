"""The two bases of all objects users write: `Foreign` (lenient, only what we use) and `Own` (strict, unknown fields refused).

Theory: a foreign object (Pod, Service) has many fields that are none of our business, so what is not modelled is ignored.
An object whose every word is an instruction to us (our own kinds, Gateway API routes) is strict: a field that is not
modelled is a field that would not be obeyed, and its author has to be told. Absent optional values are None, never a
default of the API server, so that a reference can be copied into a status exactly as it was written.
"""

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

MAX_TEXTS = 256
"""Values of one list in a rule; keeps the cost of validating a schema within the API server's budget."""


class Foreign(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, gc=False):
    """Base of what other people's APIs define; fields that are not modelled are ignored.

    `gc=False` is sound because such values are trees of texts and numbers: nothing in them can point back.
    """


class Own(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, gc=False, forbid_unknown_fields=True
):
    """Base of what we interpret word for word; unknown fields are problems."""


Port: TypeAlias = Annotated[int, Meta(ge=1, le=65535)]
PortOrText: TypeAlias = int | str
"""A port as Istio writes it, `"8080"`, or as everybody else does, `8080`; checked for range by `check`."""
Text: TypeAlias = Annotated[str, Meta(min_length=1, max_length=2048)]
"""A value that something is compared with."""
Texts: TypeAlias = Annotated[tuple[Text, ...], Meta(min_length=1, max_length=MAX_TEXTS)]
"""An empty list is refused: it would match everything, which is never what an empty list was meant to say."""
Ports: TypeAlias = Annotated[tuple[PortOrText, ...], Meta(min_length=1, max_length=MAX_TEXTS)]
ObjectName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=253)]
Labels: TypeAlias = dict[str, str]
