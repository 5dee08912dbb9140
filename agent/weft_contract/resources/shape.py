"""The base of every resource struct: frozen, keyword-only, unknown fields refused, camelCase on the wire, defaults left out."""

import msgspec


class Shape(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True, gc=False
):
    """Base of all values that cross a process border; tuples only, so that every value is hashable.

    `gc=False` is sound because such values are trees: nothing in them can point back.
    """
