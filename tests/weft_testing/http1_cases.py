"""Bytes of HTTP/1.1 with the verdict they must get: rows of the strictness table, CVEs, and what must keep working.

One list serves the unit tests, the comparison with h11 and Envoy, and the fuzzers as seeds. `rule` names what must be
refused (None: accepted); ids of CVEs are the CVE's own.
"""

from dataclasses import dataclass
from typing import Final

from weft_core.http1 import RuleName

HOST: Final = b"Host: a.example\r\n"


@dataclass(frozen=True, slots=True)
class RequestCase:
    """One or more requests on a connection, as bytes."""

    id: str
    data: bytes
    rule: RuleName | None = None
    bodies: tuple[bytes, ...] = (b"",)
    """Payload of every message that must be accepted before a refusal."""


@dataclass(frozen=True, slots=True)
class ResponseCase:
    """One response (with what is before and behind it), as bytes."""

    id: str
    data: bytes
    rule: RuleName | None = None
    body: bytes = b""
    method: bytes = b"GET"


def get(*lines: bytes, target: bytes = b"/", host: bytes = HOST) -> bytes:
    """Return a GET with further field lines."""
    return b"GET %b HTTP/1.1\r\n%b%b\r\n" % (target, host, b"".join(line + b"\r\n" for line in lines))


def post(*lines: bytes, body: bytes = b"") -> bytes:
    """Return a POST with further field lines and the bytes behind its head."""
    return b"POST / HTTP/1.1\r\n%b%b\r\n%b" % (HOST, b"".join(line + b"\r\n" for line in lines), body)


def chunked(body: bytes) -> bytes:
    """Return a POST in chunks."""
    return post(b"Transfer-Encoding: chunked", body=body)


def answer(*lines: bytes, body: bytes = b"", start: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """Return a response."""
    return b"%b\r\n%b\r\n%b" % (start, b"".join(line + b"\r\n" for line in lines), body)


def _c(name: str, data: bytes, rule: RuleName | None, *bodies: bytes) -> RequestCase:
    return RequestCase(name, data, rule, bodies)


ROWS: Final = (
    # every row of the table of measured gaps (strictness table, HTTP/1.1 part), in its order
    _c("cl-and-te", post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), "length_and_coding"),
    _c("te-and-cl", post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n"), "length_and_coding"),
    _c("two-equal-cl", post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"), "duplicate_content_length"),
    _c("two-different-cl", post(b"Content-Length: 5", b"Content-Length: 6", body=b"hello!"), "duplicate_content_length"),
    _c("cl-list", post(b"Content-Length: 5, 5", body=b"hello"), "duplicate_content_length"),
    _c("cl-leading-zeros", post(b"Content-Length: 005", body=b"hello"), "bad_content_length"),
    _c("two-te", post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), "duplicate_transfer_encoding"),
    _c("te-gzip-chunked", post(b"Transfer-Encoding: gzip, chunked"), "unknown_transfer_coding"),
    _c("te-identity", post(b"Transfer-Encoding: identity"), "bad_transfer_coding"),
    _c("te-in-http-1-0", chunked(b"0\r\n\r\n").replace(b"HTTP/1.1", b"HTTP/1.0"), "coding_in_http_1_0"),
    _c("obs-fold", get(b"X-A: b", b" c"), "obs_fold"),
    _c("obs-fold-tab", get(b"X-A: b", b"\tc"), "obs_fold"),
    _c("obs-fold-te", post(b"Transfer-Encoding:", b" chunked", body=b"0\r\n\r\n"), "obs_fold"),
    _c("obs-fold-first-line", b"GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n", "obs_fold"),
    _c("bare-lf-line-ends", b"GET / HTTP/1.1\nHost: a\n\n", "bare_lf"),
    _c("bare-lf-request-line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", "bare_lf"),
    _c("bare-lf-field", b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", "bare_lf"),
    _c("bare-lf-end", b"GET / HTTP/1.1\r\nHost: a\r\n\n", "bare_lf"),
    _c("bare-cr-in-value", get(b"X-A: b\rc"), "bare_cr"),
    _c("bare-cr-in-request-line", b"GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", "bare_cr"),
    _c("control-in-value", get(b"X-A: b\x01c"), "control_character"),
    _c("del-in-value", get(b"X-A: b\x7fc"), "control_character"),
    _c("two-host", get(b"Host: b.example"), "duplicate_host"),
    _c("two-equal-host", get(b"Host: a.example"), "duplicate_host"),
    _c("host-with-everything", get(host=b"Host: a@b/c?d\r\n"), "bad_host"),
    _c("absolute-form-differs", get(target=b"http://b.example/"), "host_differs_from_target"),
    _c("fragment-in-target", get(target=b"/a#b"), "fragment"),
    _c("fragment-in-query", get(target=b"/a?b#c"), "fragment"),
    _c("backslash-in-target", get(target=b"/a\\b"), "bad_target"),
    _c("target-without-slash", get(target=b"foo"), "bad_target"),
    _c("double-space", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "bad_request_line"),
    _c("double-space-before-version", b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", "bad_request_line"),
    _c("tab-in-request-line", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", "bad_request_line"),
    _c("version-1-2", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", "unsupported_version"),
    _c("version-2-0", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "unsupported_version"),
    _c("http-0-9", b"GET /\r\n\r\n", "bad_request_line"),
    _c("method-in-lower-case", b"get / HTTP/1.1\r\nHost: a\r\n\r\n", None, b""),
    _c("leading-crlf", b"\r\n" + get(), None, b""),
    _c("two-leading-crlf", b"\r\n\r\n" + get(), "blank_line"),
    _c("underscore-in-name", get(b"X_User: root"), "underscore_in_name"),
    _c(
        "h2c-upgrade",
        get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAARAAAAA"),
        None,
        b"",
    ),
    _c("chunk-size-space", chunked(b"5 \r\nhello\r\n0\r\n\r\n"), "bad_chunk_size"),
    _c("chunk-ext-nul", chunked(b"5;a=\x00\r\nhello\r\n0\r\n\r\n"), "control_character"),
    _c("chunk-ext-bare-cr", chunked(b"5;a\rb\r\nhello\r\n0\r\n\r\n"), "bare_cr"),
    _c("chunk-ext-bare-semicolon", chunked(b"5;\r\nhello\r\n0\r\n\r\n"), "bad_chunk_extension"),
    _c("chunk-size-0x", chunked(b"0x5\r\nhello\r\n0\r\n\r\n"), "bad_chunk_size"),
    _c("chunk-size-plus", chunked(b"+5\r\nhello\r\n0\r\n\r\n"), "bad_chunk_size"),
    _c("chunk-size-underscore", chunked(b"1_0\r\nhello\r\n0\r\n\r\n"), "bad_chunk_size"),
    _c("chunk-size-bare-lf", chunked(b"5\nhello\r\n0\r\n\r\n"), "bare_lf"),
    _c("CVE-2025-43859", chunked(b"5\r\nhelloXX0\r\n\r\n"), "bad_chunk_end"),
    _c("chunk-data-too-long", chunked(b"5\r\nhello!\r\n0\r\n\r\n"), "bad_chunk_end"),
    _c("chunk-end-bare-lf", chunked(b"5\r\nhello\n0\r\n\r\n"), "bad_chunk_end"),
    _c("last-chunk-00", chunked(b"5\r\nhello\r\n00\r\n\r\n"), None, b"hello"),
    _c("chunk-size-20-digits", chunked(b"0" * 4 + b"F" * 16 + b"\r\n"), "chunk_too_large"),
    _c("chunk-size-beyond-2-53", chunked(b"20000000000001\r\n"), "chunk_too_large"),
    _c("trailer-content-length", chunked(b"5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n"), "framing_in_trailers"),
    _c("trailer-transfer-encoding", chunked(b"0\r\nTransfer-Encoding: chunked\r\n\r\n"), "framing_in_trailers"),
    _c("trailer-host", chunked(b"5\r\nhello\r\n0\r\nHost: evil\r\n\r\n"), None, b"hello"),
    _c("1000-headers", get(*[b"X-%d: y" % number for number in range(1000)]), "too_many_fields"),
    _c("33-kib-head-in-one-read", get(b"X: " + b"y" * 33 * 1024), "head_too_large"),
    _c("connection-names-content-length", post(b"Connection: content-length", b"Content-Length: 5", body=b"hello"),
       "protected_connection_option"),
    _c("bogus-expect", post(b"Expect: 200-ok", b"Content-Length: 0"), "bad_expectation"),
)  # fmt: skip

CVES: Final = (
    _c("CL.TE", post(b"Content-Length: 6", b"Transfer-Encoding: chunked", body=b"0\r\n\r\nG"), "length_and_coding"),
    _c("TE.CL", post(b"Transfer-Encoding: chunked", b"Content-Length: 3", body=b"8\r\nSMUGGLED\r\n0\r\n\r\n"),
       "length_and_coding"),
    _c("TE.TE", post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: cow"), "duplicate_transfer_encoding"),
    _c("TE.0", post(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n") + get(), None, b"hello", b""),
    _c("CL.0", post(b"Content-Length: 30", body=b"GET /x HTTP/1.1\r\nHost: b\r\n\r\n..") + get(), None,
       b"GET /x HTTP/1.1\r\nHost: b\r\n\r\n..", b""),
    _c("0.CL", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello", "space_before_colon"),
    _c("CVE-2025-32094", b"OPTIONS / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n"
       b" X: y\r\n\r\nhello", "obs_fold"),
    _c("expect-obfuscated", post(b"Expect: y 100-continue", b"Content-Length: 5", body=b"hello"), "bad_expectation"),
    _c("CVE-2023-39326", chunked(b"5;" + b"a" * 300 + b"\r\nhello\r\n0\r\n\r\n"), "chunk_line_too_long"),
    _c("chunk-ext-overhead", chunked(b"".join(b"1;" + b"a" * 250 + b"\r\nx\r\n" for _ in range(200))),
       "chunk_overhead"),
    _c("TERM.EXT", chunked(b"5;a\nb\r\nhello\r\n0\r\n\r\n"), "bare_lf"),
    _c("EXT.TERM", chunked(b"5;a=\"\n\"\r\nhello\r\n0\r\n\r\n"), "bare_lf"),
    _c("CVE-2026-2835", b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
       "coding_in_http_1_0"),
    _c("CVE-2026-2835-xchunked", post(b"Transfer-Encoding: xchunked"), "bad_transfer_coding"),
    _c("CVE-2026-105299", get(b"Connection: close, authorization", b"Authorization: x"), "protected_connection_option"),
    _c("CVE-2026-105299-weft", get(b"Connection: weft-source"), "protected_connection_option"),
    _c("CVE-2026-105299-xff", get(b"Connection: X-Forwarded-For", b"X-Forwarded-For: 1.2.3.4"),
       "protected_connection_option"),
    _c("CVE-2019-9900", get(b"X-A: b\x00c"), "control_character"),
    _c("nul-in-name", get(b"X\x00A: b"), "control_character"),
    _c("CVE-2021-39156", get(target=b"/admin#x"), "fragment"),
    _c("h2-preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "unsupported_version"),
)  # fmt: skip

LEGAL: Final = (
    # what must keep working, and rarities that are legal
    _c("plain-get", get(b"Accept: */*", b"User-Agent: x"), None, b""),
    _c("no-space-after-colon", get(b"X-A:b"), None, b""),
    _c("empty-value", get(b"X-A:"), None, b""),
    _c("white-space-around-value", get(b"X-A: \t b \t "), None, b""),
    _c("white-space-around-host", get(host=b"Host: \ta.example \t\r\n"), None, b""),
    _c("obs-text-in-value", get("X-A: naïve".encode()), None, b""),
    _c("tab-inside-value", get(b"X-A: b\tc"), None, b""),
    _c("odd-method", b"M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n", None, b""),
    _c("odd-name", get(b"!#$%&'*+-.^`|~: x"), None, b""),
    _c("query", get(target=b"/a?b=c&d=%20&e=[f]\\|{}"), None, b""),
    _c("brackets-in-path", get(target=b"/a[b]|{c}"), None, b""),
    _c("absolute-form", get(target=b"http://a.example/x?y"), None, b""),
    _c("absolute-form-upper-case", get(target=b"HTTP://A.example/x"), None, b""),
    _c("absolute-form-without-path", get(target=b"http://a.example"), None, b""),
    _c("absolute-form-query-only", get(target=b"http://a.example?x"), None, b""),
    _c("options-star", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", None, b""),
    _c("connect", b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n", None, b""),
    _c("connect-host-without-port", b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n", None, b""),
    _c("connect-ipv6", b"CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n", None, b""),
    _c("http-1-0", b"GET / HTTP/1.0\r\n\r\n", None, b""),
    _c("http-1-0-with-host", b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", None, b""),
    _c("http-1-0-keep-alive", b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", None, b""),
    _c("host-ipv6", get(host=b"Host: [2001:db8::1]:8080\r\n"), None, b""),
    _c("host-underscore", get(host=b"Host: my_svc.ns:80\r\n"), None, b""),
    _c("host-trailing-dot", get(host=b"Host: a.example.:80\r\n"), None, b""),
    _c("host-name-in-upper-case", b"GET / HTTP/1.1\r\nHOST: a\r\n\r\n", None, b""),
    _c("content-length", post(b"Content-Length: 5", body=b"hello"), None, b"hello"),
    _c("content-length-zero", post(b"Content-Length: 0"), None, b""),
    _c("get-with-content", get(b"Content-Length: 5") + b"hello", None, b"hello"),
    _c("chunks", chunked(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"), None, b"hello world"),
    _c("chunk-upper-case-hex", chunked(b"A\r\n0123456789\r\n0\r\n\r\n"), None, b"0123456789"),
    _c("chunk-leading-zeros", chunked(b"0005\r\nhello\r\n0\r\n\r\n"), None, b"hello"),
    _c("chunk-extensions", chunked(b"5;a=b;c=\"d \\\" e\";f\r\nhello\r\n0;z\r\n\r\n"), None, b"hello"),
    _c("no-chunks", chunked(b"0\r\n\r\n"), None, b""),
    _c("trailers", chunked(b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nGrpc-Status: 0\r\n\r\n"), None, b"hello"),
    _c("te-upper-case", post(b"Transfer-Encoding: Chunked", body=b"0\r\n\r\n"), None, b""),
    _c("pipelined", get() + post(b"Content-Length: 2", body=b"ab") + chunked(b"1\r\nc\r\n0\r\n\r\n") + get(), None,
       b"", b"ab", b"c", b""),
    _c("bytes-after-length", post(b"Content-Length: 2", body=b"abX") + get(), None, b"ab", b""),
    _c("crlf-between-pipelined", get() + b"\r\n" + get(), None, b"", b""),
    _c("expect-100-continue", post(b"Expect: 100-Continue", b"Content-Length: 5", body=b"hello"), None, b"hello"),
    _c("connection-close", get(b"Connection: close"), None, b""),
    _c("connection-list", get(b"Connection: keep-alive , , X-Hop", b"X-Hop: 1"), None, b""),
    _c("te-trailers", get(b"TE: trailers", b"Connection: TE"), None, b""),
    _c("websocket", get(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13",
                        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), None, b""),
    _c("weft-header", get(b"Weft-Source: spiffe://x/ns/a/sa/b", b"X: y"), None, b""),
    _c("100-headers", get(*[b"X-%d: y" % number for number in range(99)]), None, b""),
)  # fmt: skip

REFUSED: Final = (
    # further ways to be wrong, so that every rule has its bytes
    _c("101-headers", get(*[b"X-%d: y" % number for number in range(100)]), "too_many_fields"),
    _c("missing-host", b"GET / HTTP/1.1\r\nX: y\r\n\r\n", "missing_host"),
    _c("missing-host-no-fields", b"GET / HTTP/1.1\r\n\r\n", "missing_host"),
    _c("empty-host", get(host=b"Host: \r\n"), "bad_host"),
    _c("host-with-space", get(host=b"Host: a b\r\n"), "bad_host"),
    _c("host-list", get(host=b"Host: a, b\r\n"), "bad_host"),
    _c("host-percent", get(host=b"Host: a%2eb\r\n"), "bad_host"),
    _c("host-two-ports", get(host=b"Host: a:80:80\r\n"), "bad_host"),
    _c("host-port-letters", get(host=b"Host: a:b\r\n"), "bad_host"),
    _c("host-ipv6-without-brackets", get(host=b"Host: ::1\r\n"), "bad_host"),
    _c("host-empty-label", get(host=b"Host: a..b\r\n"), "bad_host"),
    _c("host-zone", get(host=b"Host: [fe80::1%25eth0]\r\n"), "bad_host"),
    _c("method-not-token", b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", "bad_method"),
    _c("method-empty", b" / HTTP/1.1\r\nHost: a\r\n\r\n", "bad_method"),
    _c("version-lower-case", b"GET / http/1.1\r\nHost: a\r\n\r\n", "bad_version"),
    _c("version-two-digits", b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", "bad_version"),
    _c("version-other", b"GET / ICY/1.1\r\nHost: a\r\n\r\n", "bad_version"),
    _c("trailing-space", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "bad_request_line"),
    _c("leading-space", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", "bad_request_line"),
    _c("target-too-long", get(target=b"/" + b"a" * 8192), "target_too_long"),
    _c("target-endless", b"GET /" + b"a" * 9000, "target_too_long"),
    _c("target-control", get(target=b"/a\x02"), "control_character"),
    _c("target-obs-text", get(target=b"/\xc3\xa9"), "bad_target"),
    _c("target-empty", b"GET  HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target"),
    _c("star-for-get", get(target=b"*"), "bad_target"),
    _c("absolute-form-userinfo", get(target=b"http://u@a.example/"), "bad_target"),
    _c("absolute-form-backslash", get(target=b"http://a.example\\b/"), "bad_target"),
    _c("absolute-form-other-scheme", get(target=b"ftp://a.example/"), "bad_target"),
    _c("absolute-form-two-slashes-missing", get(target=b"http:a.example/"), "bad_target"),
    _c("connect-without-port", b"CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target"),
    _c("connect-path", b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target"),
    _c("connect-ipv6-without-port", b"CONNECT [::1] HTTP/1.1\r\nHost: [::1]\r\n\r\n", "bad_target"),
    _c("connect-host-differs", b"CONNECT a:443 HTTP/1.1\r\nHost: b:443\r\n\r\n", "host_differs_from_target"),
    _c("connect-chunked", b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nTransfer-Encoding: chunked\r\n\r\n",
       "coding_without_content"),
    _c("connect-length", b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 5\r\n\r\n",
       "content_without_length_zero"),
    _c("no-colon", get(b"X-A"), "field_without_colon"),
    _c("empty-name", get(b": b"), "bad_field_name"),
    _c("name-with-space", get(b"X A: b"), "bad_field_name"),
    _c("name-with-brackets", get(b"X(A): b"), "bad_field_name"),
    _c("name-obs-text", get(b"X\xe9: b"), "bad_field_name"),
    _c("space-before-colon", get(b"X-A : b"), "space_before_colon"),
    _c("tab-before-colon", get(b"X-A\t: b"), "space_before_colon"),
    _c("te-space-before-colon", post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n"), "space_before_colon"),
    _c("cl-plus", post(b"Content-Length: +5", body=b"hello"), "bad_content_length"),
    _c("cl-minus", post(b"Content-Length: -5", body=b"hello"), "bad_content_length"),
    _c("cl-hex", post(b"Content-Length: 0x5", body=b"hello"), "bad_content_length"),
    _c("cl-empty", post(b"Content-Length: "), "bad_content_length"),
    _c("cl-two-zeros", post(b"Content-Length: 00"), "bad_content_length"),
    _c("cl-space-inside", post(b"Content-Length: 1 0", body=b"h"), "bad_content_length"),
    _c("cl-huge", post(b"Content-Length: 9007199254740993"), "bad_content_length"),
    _c("cl-enormous", post(b"Content-Length: " + b"9" * 40), "bad_content_length"),
    _c("cl-arabic-digits", post("Content-Length: ٥".encode()), "bad_content_length"),
    _c("cl-list-different", post(b"Content-Length: 5, 6", body=b"hello!"), "duplicate_content_length"),
    _c("te-chunked-chunked", post(b"Transfer-Encoding: chunked, chunked"), "bad_transfer_coding"),
    _c("te-chunked-last-not", post(b"Transfer-Encoding: chunked, gzip"), "bad_transfer_coding"),
    _c("te-identity-chunked", post(b"Transfer-Encoding: identity, chunked"), "bad_transfer_coding"),
    _c("te-parameter", post(b"Transfer-Encoding: chunked;q=1"), "bad_transfer_coding"),
    _c("te-quoted", post(b'Transfer-Encoding: "chunked"'), "bad_transfer_coding"),
    _c("te-empty", post(b"Transfer-Encoding: "), "bad_transfer_coding"),
    _c("te-empty-member", post(b"Transfer-Encoding: ,chunked"), "bad_transfer_coding"),
    _c("te-vertical-tab", post(b"Transfer-Encoding: \x0bchunked"), "control_character"),
    _c("te-obs-text", post(b"Transfer-Encoding: chunked\xa0"), "bad_transfer_coding"),
    _c("connection-not-token", get(b"Connection: a b"), "bad_connection_option"),
    _c("connection-names-host", get(b"Connection: Host"), "protected_connection_option"),
    _c("connection-names-te", post(b"Connection: Transfer-Encoding", b"Transfer-Encoding: chunked"),
       "protected_connection_option"),
    _c("two-expect", post(b"Expect: 100-continue", b"Expect: 100-continue", b"Content-Length: 0"), "bad_expectation"),
    _c("chunk-size-empty", chunked(b"\r\nhello\r\n0\r\n\r\n"), "bad_chunk_size"),
    _c("chunk-size-leading-space", chunked(b" 5\r\nhello\r\n0\r\n\r\n"), "bad_chunk_size"),
    _c("chunk-size-minus", chunked(b"-5\r\nhello\r\n0\r\n\r\n"), "bad_chunk_size"),
    _c("chunk-size-letters", chunked(b"xyz\r\n"), "bad_chunk_size"),
    _c("chunk-size-tab", chunked(b"5\t\r\nhello\r\n0\r\n\r\n"), "bad_chunk_size"),
    _c("chunk-ext-without-semicolon", chunked(b"5 a=b\r\nhello\r\n0\r\n\r\n"), "bad_chunk_size"),
    _c("chunk-ext-open-quote", chunked(b"5;a=\"b\r\nhello\r\n0\r\n\r\n"), "bad_chunk_extension"),
    _c("chunk-ext-empty-value", chunked(b"5;a=\r\nhello\r\n0\r\n\r\n"), "bad_chunk_extension"),
    _c("chunk-ext-last", chunked(b"0;\r\n\r\n"), "bad_chunk_extension"),
    _c("chunk-data-cr", chunked(b"5\r\nhello\rX0\r\n\r\n"), "bad_chunk_end"),
    _c("trailer-obs-fold", chunked(b"0\r\nA: b\r\n c\r\n\r\n"), "obs_fold"),
    _c("trailer-bare-lf", chunked(b"0\r\nA: b\n\r\n"), "bare_lf"),
    _c("trailer-end-bare-lf", chunked(b"0\r\n\n"), "bare_lf"),
    _c("trailer-nul", chunked(b"0\r\nA: \x00\r\n\r\n"), "control_character"),
    _c("trailer-no-colon", chunked(b"0\r\nGET / HTTP/1.1\r\n\r\n"), "field_without_colon"),
    _c("trailer-underscore", chunked(b"0\r\nX_A: b\r\n\r\n"), "underscore_in_name"),
    _c("trailer-space-before-colon", chunked(b"0\r\nA : b\r\n\r\n"), "space_before_colon"),
    _c("33-trailers", chunked(b"0\r\n" + b"A: b\r\n" * 33 + b"\r\n"), "too_many_trailers"),
    _c("trailers-too-large", chunked(b"0\r\nA: " + b"b" * 40_000), "too_many_trailers"),
    _c("second-request-bad", get() + b"GET / HTTP/9.9\r\n\r\n", "unsupported_version", b""),
)  # fmt: skip

REQUESTS: Final = (*ROWS, *CVES, *LEGAL, *REFUSED)


def _r(name: str, data: bytes, rule: RuleName | None = None, body: bytes = b"", method: bytes = b"GET") -> ResponseCase:
    return ResponseCase(name, data, rule, body, method)


_CHUNKED: Final = b"Transfer-Encoding: chunked"

RESPONSES: Final = (
    _r("plain", answer(b"Content-Length: 5", body=b"hello"), None, b"hello"),
    _r("no-reason", answer(b"Content-Length: 0", start=b"HTTP/1.1 200 ")),
    _r("no-space-after-status", answer(b"Content-Length: 0", start=b"HTTP/1.1 200")),
    _r("odd-reason", answer(b"Content-Length: 0", start="HTTP/1.1 200 très bien : oui".encode())),
    _r("chunks", answer(_CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n"), None, b"hello"),
    _r("until-eof", answer(body=b"hello"), None, b"hello"),
    _r("http-1-0", answer(body=b"hello", start=b"HTTP/1.0 200 OK"), None, b"hello"),
    _r("head", answer(b"Content-Length: 5"), None, b"", b"HEAD"),
    _r("head-chunked", answer(_CHUNKED), None, b"", b"HEAD"),
    _r("204", answer(start=b"HTTP/1.1 204 No Content")),
    _r("204-length-zero", answer(b"Content-Length: 0", start=b"HTTP/1.1 204 No Content")),
    _r("304-length", answer(b"Content-Length: 5", start=b"HTTP/1.1 304 Not Modified")),
    _r("100-then-200", answer(start=b"HTTP/1.1 100 Continue") + answer(b"Content-Length: 2", body=b"ok"), None, b"ok"),
    _r("103-then-200", answer(b"Link: </a>", start=b"HTTP/1.1 103 Early Hints") + answer(b"Content-Length: 0")),
    _r("underscore-in-name", answer(b"X_A: b", b"Content-Length: 0")),
    _r("obs-text-in-value", answer("X-A: naïve".encode(), b"Content-Length: 0")),
    _r("trailers", answer(_CHUNKED, body=b"1\r\nx\r\n0\r\nGrpc-Status: 0\r\n\r\n"), None, b"x"),
    _r("connection-close", answer(b"Connection: close", b"Content-Length: 1", body=b"x"), None, b"x"),
    _r("cl-and-te", answer(b"Content-Length: 5", _CHUNKED, body=b"0\r\n\r\n"), "length_and_coding"),
    _r("two-equal-cl", answer(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"), "duplicate_content_length"),
    _r("cl-list", answer(b"Content-Length: 5, 5", body=b"hello"), "duplicate_content_length"),
    _r("cl-leading-zeros", answer(b"Content-Length: 005", body=b"hello"), "bad_content_length"),
    _r("cl-plus", answer(b"Content-Length: +5", body=b"hello"), "bad_content_length"),
    _r("two-te", answer(_CHUNKED, _CHUNKED, body=b"0\r\n\r\n"), "duplicate_transfer_encoding"),
    _r("te-gzip-chunked", answer(b"Transfer-Encoding: gzip, chunked"), "unknown_transfer_coding"),
    _r("te-identity", answer(b"Transfer-Encoding: identity"), "bad_transfer_coding"),
    _r("te-in-http-1-0", answer(_CHUNKED, start=b"HTTP/1.0 200 OK", body=b"0\r\n\r\n"), "coding_in_http_1_0"),
    _r("obs-fold", answer(b"X-A: b", b" c", b"Content-Length: 0"), "obs_fold"),
    _r("bare-lf-line-ends", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "bare_lf"),
    _r("bare-cr-in-value", answer(b"X-A: b\rc", b"Content-Length: 0"), "bare_cr"),
    _r("control-in-value", answer(b"X-A: b\x01", b"Content-Length: 0"), "control_character"),
    _r("del-in-value", answer(b"X-A: b\x7f", b"Content-Length: 0"), "control_character"),
    _r("nul-in-value", answer(b"X-A: b\x00", b"Content-Length: 0"), "control_character"),
    _r("nul-in-reason", answer(b"Content-Length: 0", start=b"HTTP/1.1 200 O\x00K"), "control_character"),
    _r("space-before-colon", answer(b"Content-Length : 0"), "space_before_colon"),
    _r("two-status-lines", b"HTTP/1.1 200 OK\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "field_without_colon"),
    _r("version-1-2", answer(b"Content-Length: 0", start=b"HTTP/1.2 200 OK"), "unsupported_version"),
    _r("version-2-0", answer(b"Content-Length: 0", start=b"HTTP/2.0 200 OK"), "unsupported_version"),
    _r("http-0-9", b"<html>\r\n\r\n", "bad_status_line"),
    _r("leading-crlf", b"\r\n" + answer(b"Content-Length: 0"), "bad_status_line"),
    _r("double-space", answer(b"Content-Length: 0", start=b"HTTP/1.1  200 OK"), "bad_status_line"),
    _r("status-two-digits", answer(b"Content-Length: 0", start=b"HTTP/1.1 20 OK"), "bad_status_line"),
    _r("status-four-digits", answer(b"Content-Length: 0", start=b"HTTP/1.1 2000 OK"), "bad_status_line"),
    _r("status-000", answer(b"Content-Length: 0", start=b"HTTP/1.1 000 OK"), "status_out_of_range"),
    _r("status-600", answer(b"Content-Length: 0", start=b"HTTP/1.1 600 OK"), "status_out_of_range"),
    _r("204-chunked", answer(_CHUNKED, start=b"HTTP/1.1 204 No Content", body=b"0\r\n\r\n"), "coding_without_content"),
    _r("204-length", answer(b"Content-Length: 5", start=b"HTTP/1.1 204 No Content", body=b"hello"),
       "content_without_length_zero"),
    _r("100-length", answer(b"Content-Length: 5", start=b"HTTP/1.1 100 Continue"), "content_without_length_zero"),
    _r("connect-chunked", answer(_CHUNKED), "coding_without_content", b"", b"CONNECT"),
    _r("1xx-flood", answer(start=b"HTTP/1.1 102 Processing") * 9 + answer(b"Content-Length: 0"),
       "too_many_informational"),
    _r("101-headers", answer(*[b"X-%d: y" % number for number in range(101)]), "too_many_fields"),
    _r("33-kib-head", answer(b"X: " + b"y" * 33 * 1024), "head_too_large"),
    _r("endless-line", b"HTTP/1.1 200 " + b"O" * 40_000, "head_too_large"),
    _r("connection-names-content-length", answer(b"Connection: content-length", b"Content-Length: 0"),
       "protected_connection_option"),
    _r("chunk-size-space", answer(_CHUNKED, body=b"5 \r\nhello\r\n0\r\n\r\n"), "bad_chunk_size"),
    _r("chunk-ext-nul", answer(_CHUNKED, body=b"5;\x00\r\nhello\r\n0\r\n\r\n"), "control_character"),
    _r("chunk-ext-bare-semicolon", answer(_CHUNKED, body=b"5;\r\nhello\r\n0\r\n\r\n"), "bad_chunk_extension"),
    _r("chunk-size-0x", answer(_CHUNKED, body=b"0x5\r\nhello\r\n0\r\n\r\n"), "bad_chunk_size"),
    _r("CVE-2025-43859", answer(_CHUNKED, body=b"5\r\nhelloXX0\r\n\r\n"), "bad_chunk_end"),
    _r("chunk-end-bare-lf", answer(_CHUNKED, body=b"5\r\nhello\n0\r\n\r\n"), "bad_chunk_end"),
    _r("chunk-size-20-digits", answer(_CHUNKED, body=b"F" * 20 + b"\r\n"), "chunk_too_large"),
    _r("trailer-content-length", answer(_CHUNKED, body=b"0\r\nContent-Length: 5\r\n\r\n"), "framing_in_trailers"),
    _r("trailer-host", answer(_CHUNKED, body=b"1\r\nx\r\n0\r\nHost: b\r\n\r\n"), None, b"x"),
    _r("last-chunk-00", answer(_CHUNKED, body=b"5\r\nhello\r\n00\r\n\r\n"), None, b"hello"),
    # the other rows of the strictness table and the CVEs that a server can try, too
    _r("te-and-cl", answer(_CHUNKED, b"Content-Length: 5", body=b"0\r\n\r\n"), "length_and_coding"),
    _r("two-different-cl", answer(b"Content-Length: 5", b"Content-Length: 6", body=b"hello!"),
       "duplicate_content_length"),
    _r("obs-fold-tab", answer(b"X-A: b", b"\tc", b"Content-Length: 0"), "obs_fold"),
    _r("obs-fold-te", answer(b"Transfer-Encoding:", b" chunked", body=b"0\r\n\r\n"), "obs_fold"),
    _r("obs-fold-first-line", answer(b" X: y", b"Content-Length: 0"), "obs_fold"),
    _r("bare-lf-status-line", b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", "bare_lf"),
    _r("bare-lf-field", b"HTTP/1.1 200 OK\r\nX: y\nContent-Length: 0\r\n\r\n", "bare_lf"),
    _r("bare-lf-end", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n", "bare_lf"),
    _r("bare-cr-in-status-line", answer(b"Content-Length: 0", start=b"HTTP/1.1 200 O\rK"), "bare_cr"),
    _r("tab-in-status-line", answer(b"Content-Length: 0", start=b"HTTP/1.1\t200 OK"), "bad_status_line"),
    _r("1000-headers", answer(*[b"X-%d: y" % number for number in range(1000)]), "too_many_fields"),
    _r("chunk-ext-bare-cr", answer(_CHUNKED, body=b"5;a\rb\r\nhello\r\n0\r\n\r\n"), "bare_cr"),
    _r("chunk-size-plus", answer(_CHUNKED, body=b"+5\r\nhello\r\n0\r\n\r\n"), "bad_chunk_size"),
    _r("chunk-size-underscore", answer(_CHUNKED, body=b"1_0\r\nhello\r\n0\r\n\r\n"), "bad_chunk_size"),
    _r("chunk-size-bare-lf", answer(_CHUNKED, body=b"5\nhello\r\n0\r\n\r\n"), "bare_lf"),
    _r("chunk-data-too-long", answer(_CHUNKED, body=b"5\r\nhello!\r\n0\r\n\r\n"), "bad_chunk_end"),
    _r("chunk-size-beyond-2-53", answer(_CHUNKED, body=b"20000000000001\r\n"), "chunk_too_large"),
    _r("trailer-transfer-encoding", answer(_CHUNKED, body=b"0\r\nTransfer-Encoding: chunked\r\n\r\n"),
       "framing_in_trailers"),
    _r("CVE-2019-9900", answer(b"X-A: b\x00c", b"Content-Length: 0"), "control_character"),
    _r("CVE-2023-39326", answer(_CHUNKED, body=b"5;" + b"a" * 300 + b"\r\nhello\r\n0\r\n\r\n"), "chunk_line_too_long"),
    _r("chunk-ext-overhead", answer(_CHUNKED, body=b"".join(b"1;" + b"a" * 250 + b"\r\nx\r\n" for _ in range(200))),
       "chunk_overhead"),
    _r("TERM.EXT", answer(_CHUNKED, body=b"5;a\nb\r\nhello\r\n0\r\n\r\n"), "bare_lf"),
    _r("EXT.TERM", answer(_CHUNKED, body=b"5;a=\"\n\"\r\nhello\r\n0\r\n\r\n"), "bare_lf"),
    _r("TE.TE", answer(_CHUNKED, b"Transfer-Encoding: cow"), "duplicate_transfer_encoding"),
    _r("CVE-2026-2835-xchunked", answer(b"Transfer-Encoding: xchunked"), "bad_transfer_coding"),
    _r("CVE-2026-105299", answer(b"Connection: close, set-cookie", b"Set-Cookie: a=b", b"Content-Length: 0"),
       "protected_connection_option"),
)  # fmt: skip
