"""How a rule compares a text: the closed set of comparisons that policies and routes are written with."""

from typing import Literal

from weft_contract.resources.shape import Shape

TextKind = Literal["exact", "prefix", "suffix", "present", "template", "regex"]


class TextMatch(Shape, frozen=True, kw_only=True):
    """One comparison; compared as bytes in UTF-8, a match error counts as a deny.

    `prefix` and `suffix` are plain (the star is gone); `template` is a path template of `/`-separated segments where
    `{*}` is one non-empty segment and `{**}` any number, as Istio's path templating; `regex` is RE2, anchored on both
    ends; `present` ignores `value`.
    """

    kind: TextKind = "exact"
    value: str = ""
