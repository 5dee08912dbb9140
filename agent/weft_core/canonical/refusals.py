"""What a target or host is refused for: name (metric label, log field), sentence and source."""

from typing import Final, Literal, NamedTuple

from weft_core.errors import RemoteProtocolError

RuleName = Literal[
    "backslash",
    "bad_escape",
    "bad_host",
    "bad_target",
    "dot_segment_parameters",
    "empty_segment_parameters",
    "escaped_control",
    "escaped_slash",
    "fragment",
    "overlong_utf8",
]


class Rule(NamedTuple):
    """The sentence a human reads, and where the rule comes from."""

    message: str
    source: str


RULES: Final[dict[RuleName, Rule]] = {
    "backslash": Rule("backslash in the path", "some servers read it as a slash: CVE-2021-31920"),
    "bad_escape": Rule("percent sign without two hexadecimal digits", "RFC 3986 §2.1; %u002e"),
    "bad_host": Rule("not a host with an optional port", "RFC 9110 §7.2, RFC 3986 §3.2.2"),
    "bad_target": Rule("no target of a form that fits the method", "RFC 9112 §3.2, CVE-2026-33186"),
    "dot_segment_parameters": Rule("dot segment with parameters", "CVE-2026-73551"),
    "empty_segment_parameters": Rule("parameters of an empty segment inside the path", "CVE-2026-73511"),
    "escaped_control": Rule("escaped control character or NUL in the path", "Istio refuses %00 always"),
    "escaped_slash": Rule("escaped slash or backslash in the path", "CVE-2021-31920, CVE-2021-29492"),
    "fragment": Rule("fragment in the target", "RFC 9112 §3.2, CVE-2021-39156"),
    "overlong_utf8": Rule("overlong UTF-8 in the path", "RFC 3629 §3: decoders must protect against it"),
}


def refused(name: RuleName) -> RemoteProtocolError:
    """Return the error for a broken rule, to be raised by the caller; none of the peer's bytes go into its message."""
    rule = RULES[name]
    return RemoteProtocolError(f"{rule.message} ({rule.source})", detail=name)
