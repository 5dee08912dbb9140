"""YAML's node tree to plain values as JSON has them; keys given twice are seen, aliases counted, nothing guessed.

Theory: Kubernetes reads YAML through JSON, so a document is what JSON can say: texts, numbers, truth values, lists and
mappings with text keys (`8080:` is the key `"8080"`). The library's node tree is walked by hand, because that is where a
key given twice can still be seen, and where aliases can be counted: a small file may otherwise unfold into gigabytes.
Times and base-60 numbers of YAML 1.1 stay texts (`2026-01-01`, `22:22`), as they do for kubectl.
"""

import re
from math import isinf
from typing import Final

import yaml

from weft_contract.problems import Problem

MAX_DEPTH: Final = 100
MAX_REPEATS: Final = 100_000
"""Values that aliases may repeat in one document; what is written out is bounded by the size of the text."""
MAX_DIGITS: Final = 70
"""More than 64 bits have in base 2, sign and prefix included; Python refuses to read very long ones."""
_TAG: Final = "tag:yaml.org,2002:"
_TRUE: Final = frozenset({"true", "yes", "on"})


class Loader(yaml.CSafeLoader):
    """libyaml with the scalars of JSON; everything else is a text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - name and type of PyYAML


def _resolve(kind: str, pattern: str, first: str) -> None:
    """Declare which plain scalars are of a kind, by their first characters."""
    Loader.add_implicit_resolver(_TAG + kind, re.compile(pattern), list(first))


_resolve("bool", r"^(?:true|True|TRUE|false|False|FALSE|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF)$", "tTfFyYnNoO")
_resolve("null", r"^(?:~|null|Null|NULL|)$", "~nN\0")
Loader.add_implicit_resolver(_TAG + "null", re.compile(r"^$"), [""])
_resolve("int", r"^[-+]?(?:0b[01][01_]*|0o?[0-7][0-7_]*|0x[0-9a-fA-F][0-9a-fA-F_]*|0|[1-9][0-9_]*)$", "-+0123456789")
_resolve("float", r"^[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?$", "-+0123456789.")
_resolve("merge", r"^<<$", "<")


def is_empty(node: yaml.Node) -> bool:
    """Whether a document has no content."""
    return isinstance(node, yaml.ScalarNode) and node.tag == _TAG + "null"


class NodeReader:
    """Turns one document's nodes into plain values and notes what is wrong on the way."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.broken = False
        self._seen: set[int] = set()
        self._repeats = 0

    def plain(self, node: yaml.Node, path: str, depth: int) -> object:
        """Return the plain value of a node; None where it cannot be read."""
        if depth > MAX_DEPTH or self._repeats > MAX_REPEATS:
            self._give_up(node, path, depth)
        if self.broken:
            return None
        self._repeats += id(node) in self._seen
        self._seen.add(id(node))
        match node:
            case yaml.MappingNode() if node.tag == _TAG + "map":
                return self._mapping(node, path, depth)
            case yaml.SequenceNode() if node.tag == _TAG + "seq":
                return [self.plain(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(node.value)]
            case yaml.ScalarNode():
                return self._scalar(node, path)
            case _:
                self._refuse_tag(node, path)
                return None

    def _give_up(self, node: yaml.Node, path: str, depth: int) -> None:
        if not self.broken:
            limit = f"nested deeper than {MAX_DEPTH}" if depth > MAX_DEPTH else f"repeats over {MAX_REPEATS} values"
            self._refuse(node, path[:200], f"the document {limit}", "write it without aliases")
        self.broken = True

    def _refuse(self, node: yaml.Node, path: str, message: str, remedy: str = "") -> None:
        line = f"line {node.start_mark.line + 1}: {message}"
        self.problems.append(Problem(path=path, message=line, remedy=remedy))

    def _refuse_tag(self, node: yaml.Node, path: str) -> None:
        self._refuse(node, path, f"tag {node.tag!r:.80} is not JSON", "write a plain value")
        self.broken = True

    def _mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, object]:
        result: dict[str, object] = {}
        merged: dict[str, object] = {}
        for key_node, value_node in node.value:
            if self.broken:
                break
            if key_node.tag == _TAG + "merge":
                for source in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                    addition = self.plain(source, path, depth + 1)
                    if isinstance(addition, dict):
                        merged = {**addition, **merged}
                    else:
                        self._refuse(value_node, path, "<< takes a mapping")
                continue
            key = self._key(key_node, path)
            if key in result:
                self._refuse(key_node, f"{path}.{key}", f"key {key!r:.80} is given twice", "take one out")
            result[key] = self.plain(value_node, f"{path}.{key}", depth + 1)
        return {**merged, **result} if merged else result

    def _key(self, node: yaml.Node, path: str) -> str:
        if not isinstance(node, yaml.ScalarNode):
            self._refuse(node, path, "a key has to be a text")
            self.broken = True
            return ""
        value = self._scalar(node, path)
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(node.value) if value is None or isinstance(value, float) else str(value)

    def _scalar(self, node: yaml.ScalarNode, path: str) -> object:
        text = str(node.value)
        match node.tag.removeprefix(_TAG):
            case "str":
                return text
            case "null":
                return None
            case "bool":
                return text.lower() in _TRUE
            case "int":
                return self._integer(text, node, path)
            case "float":
                return self._float(text, node, path)
            case "merge":
                return text
            case _:
                self._refuse_tag(node, path)
                return None

    def _integer(self, text: str, node: yaml.ScalarNode, path: str) -> object:
        digits = text.replace("_", "").lower()
        body = digits.lstrip("+-")
        if len(body) > 1 and body[0] == "0" and body[1].isdigit():
            digits = digits.replace("0", "0o", 1)
        number = int(digits, 0) if len(digits) <= MAX_DIGITS else 2**64
        if not -(2**63) <= number < 2**64:
            self._refuse(node, path, f"{text[:40]} is too large for a number", "put it in quotes")
        return number

    def _float(self, text: str, node: yaml.ScalarNode, path: str) -> object:
        number = float(text.replace("_", ""))
        if isinf(number):
            self._refuse(node, path, f"{text[:40]} is too large for a number", "put it in quotes")
        return number
