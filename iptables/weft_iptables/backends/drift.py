"""What the kernel has and what it should have, compared: every difference by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal, TypeAlias

Thing = Literal["setting", "routing", "table", "hook", "jump", "chain", "set", "elements"]
Key: TypeAlias = tuple[Thing, str]
State: TypeAlias = Mapping[Key, tuple[bytes, ...]]
"""Everything rule-like of ours in a namespace, by what it is and its name; values are only ever compared."""


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing that is not as the plan says."""

    thing: Thing
    name: str
    detail: str
    """What is wrong, as the end of a sentence."""

    def __str__(self) -> str:
        """Give the line for a log."""
        return f"{self.thing} {self.name}: {self.detail}"


def compare(expected: State, live: State, lines: Mapping[str, Sequence[str]]) -> list[Drift]:
    """Name every difference.

    Args:
        expected: what a namespace has in which nothing but the plan was applied.
        live: what this one has.
        lines: the text of each chain's rules, by the chain's name, for the messages.
    """
    if expected and not live:
        return [
            Drift("table", next(name for thing, name in expected if thing == "table"), "nothing of the capture is here")
        ]
    found = []
    for key in [*expected, *(key for key in live if key not in expected)]:
        if expected.get(key) != live.get(key):
            found.append(Drift(*key, _detail(key, expected, live, lines)))
    return found


def _detail(key: Key, expected: State, live: State, lines: Mapping[str, Sequence[str]]) -> str:
    if key not in live:
        return "missing"
    if key not in expected:
        return "not ours to have"
    if key[0] != "chain":
        return "changed"
    wanted, found = expected[key], live[key]
    first = next(at for at, (one, other) in enumerate(zip_longest(wanted, found)) if one != other)
    text = lines.get(key[1], ())
    rule = text[first] if first < len(text) else "nothing more"
    return f"{len(found)} rules instead of {len(wanted)}, the first difference at rule {first + 1}, which should be: {rule}"
