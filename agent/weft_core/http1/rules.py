"""Every rule of HTTP/1.1 that a peer can break here: name, what it is told, the sentence, and where the rule comes from.

The names are the closed set behind `RemoteProtocolError.detail`: metric label and log field. A test holds that each one
can be reached by bytes.
"""

from typing import Final, Literal, NamedTuple

from weft_core.errors import RemoteProtocolError

RuleName = Literal[
    "bad_chunk_end",
    "bad_chunk_extension",
    "bad_chunk_size",
    "bad_connection_option",
    "bad_content_length",
    "bad_expectation",
    "bad_field_name",
    "bad_host",
    "bad_method",
    "bad_request_line",
    "bad_status_line",
    "bad_target",
    "bad_transfer_coding",
    "bad_version",
    "bare_cr",
    "bare_lf",
    "blank_line",
    "chunk_line_too_long",
    "chunk_overhead",
    "chunk_too_large",
    "coding_without_content",
    "coding_in_http_1_0",
    "content_without_length_zero",
    "control_character",
    "duplicate_content_length",
    "duplicate_host",
    "duplicate_transfer_encoding",
    "field_without_colon",
    "fragment",
    "framing_in_trailers",
    "head_too_large",
    "host_differs_from_target",
    "length_and_coding",
    "missing_host",
    "obs_fold",
    "protected_connection_option",
    "space_before_colon",
    "status_out_of_range",
    "target_too_long",
    "too_many_fields",
    "too_many_informational",
    "too_many_trailers",
    "underscore_in_name",
    "unknown_transfer_coding",
    "unsupported_version",
]


class Rule(NamedTuple):
    """One rule: the status a client is told, the sentence, and its source."""

    status: int
    message: str
    source: str


RULES: Final[dict[RuleName, Rule]] = {
    "bad_chunk_end": Rule(400, "chunk data is not followed by CRLF", "RFC 9112 §7.1, CVE-2025-43859"),
    "bad_chunk_extension": Rule(400, "chunk extension breaks its grammar", "RFC 9112 §7.1.1, CVE-2023-39326"),
    "bad_chunk_size": Rule(400, "chunk size is not a hexadecimal number", "RFC 9112 §7.1"),
    "bad_connection_option": Rule(400, "Connection holds something that is not a token", "RFC 9110 §7.6.1"),
    "bad_content_length": Rule(400, "Content-Length is not one plain decimal number", "RFC 9110 §8.6"),
    "bad_expectation": Rule(417, "only 100-continue can be expected", "RFC 9110 §10.1.1"),
    "bad_field_name": Rule(400, "field name is not a token", "RFC 9110 §5.1"),
    "bad_host": Rule(400, "Host is not a host with an optional port", "RFC 9110 §7.2, RFC 3986 §3.2.2"),
    "bad_method": Rule(400, "method is not a token", "RFC 9110 §9.1"),
    "bad_request_line": Rule(400, "request line is not: method SP target SP version", "RFC 9112 §3"),
    "bad_status_line": Rule(400, "status line is not: version SP three digits SP reason", "RFC 9112 §4"),
    "bad_target": Rule(400, "request target has none of the four forms for this method", "RFC 9112 §3.2"),
    "bad_transfer_coding": Rule(400, "Transfer-Encoding is not exactly one chunked at the end", "RFC 9112 §6.1"),
    "bad_version": Rule(400, "version is not HTTP/digit.digit", "RFC 9112 §2.3"),
    "bare_cr": Rule(400, "CR without LF", "RFC 9112 §2.2"),
    "bare_lf": Rule(400, "LF without CR", "RFC 9112 §2.2 lets a recipient accept it; proxies and servers then differ"),
    "blank_line": Rule(400, "more than one empty line before the request line", "RFC 9112 §2.2"),
    "chunk_line_too_long": Rule(400, "chunk size and extensions exceed the limit", "CVE-2023-39326"),
    "chunk_overhead": Rule(400, "chunk framing and extensions outweigh the data", "CVE-2023-39326"),
    "chunk_too_large": Rule(400, "chunk size is beyond 2^53", "RFC 9112 §7.1: recipients must prevent overflow"),
    "coding_in_http_1_0": Rule(400, "Transfer-Encoding in an HTTP/1.0 message", "RFC 9112 §6.1, CVE-2026-2835"),
    "coding_without_content": Rule(400, "Transfer-Encoding where no content is possible", "RFC 9112 §6.1"),
    "content_without_length_zero": Rule(400, "Content-Length above 0 where no content is possible", "RFC 9110 §8.6"),
    "control_character": Rule(400, "control character or NUL", "RFC 9110 §5.5, CVE-2019-9900"),
    "duplicate_content_length": Rule(400, "more than one Content-Length", "RFC 9112 §6.3"),
    "duplicate_host": Rule(400, "more than one Host", "RFC 9112 §3.2"),
    "duplicate_transfer_encoding": Rule(400, "more than one Transfer-Encoding", "RFC 9112 §6.1, TE.TE smuggling"),
    "field_without_colon": Rule(400, "field line without a colon", "RFC 9112 §5"),
    "fragment": Rule(400, "fragment in the request target", "RFC 9112 §3.2, CVE-2021-39156"),
    "framing_in_trailers": Rule(400, "Content-Length or Transfer-Encoding behind the content", "RFC 9110 §6.5.1"),
    "head_too_large": Rule(431, "message head exceeds the limit", "RFC 6585 §5"),
    "host_differs_from_target": Rule(400, "Host differs from the authority of the target", "RFC 9112 §3.2.2"),
    "length_and_coding": Rule(400, "Content-Length together with Transfer-Encoding", "RFC 9112 §6.3, CL.TE smuggling"),
    "missing_host": Rule(400, "HTTP/1.1 request without Host", "RFC 9112 §3.2"),
    "obs_fold": Rule(400, "field line continued on the next line", "RFC 9112 §5.2"),
    "protected_connection_option": Rule(
        400, "Connection names a field that is not its to remove", "RFC 9110 §7.6.1, CVE-2026-105299"
    ),
    "space_before_colon": Rule(400, "white space between field name and colon", "RFC 9112 §5.1"),
    "status_out_of_range": Rule(400, "status code outside 100..599", "RFC 9110 §15"),
    "target_too_long": Rule(414, "request target exceeds the limit", "RFC 9110 §15.5.15"),
    "too_many_fields": Rule(431, "more field lines than the limit", "RFC 6585 §5, CVE-2026-49975 family"),
    "too_many_informational": Rule(400, "more 1xx responses than the limit", "threat T25"),
    "too_many_trailers": Rule(400, "more trailer fields or bytes than the limit", "RFC 9112 §7.1.2"),
    "underscore_in_name": Rule(400, "underscore in a field name", "X_User and X-User are one variable to CGI and WSGI"),
    "unknown_transfer_coding": Rule(501, "transfer coding other than chunked", "RFC 9112 §6.1"),
    "unsupported_version": Rule(505, "version is not HTTP/1.0 or HTTP/1.1", "RFC 9110 §15.6.6"),
}


def refused(name: RuleName) -> RemoteProtocolError:
    """Return the error for a broken rule, to be raised by the caller.

    Nothing of the peer's bytes goes into the message: they may be secrets, and the rule says what was wrong with them.
    """
    rule = RULES[name]
    return RemoteProtocolError(f"{rule.message} ({rule.source})", status=rule.status, detail=name)
