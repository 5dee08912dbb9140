"""The gate for heads, rule by rule, in both directions: what must pass, what must not."""

import pytest

from weft_core.facts import Header
from weft_core.tunnel.breach import StreamBreachError
from weft_core.tunnel.frames import ErrorCode
from weft_core.tunnel.heads import UNMEASURED, check_request, check_response, check_trailers

GET: list[Header] = [
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":authority", b"shop.example:8080"),
    (b":path", b"/a?b=c"),
]
CONNECT: list[Header] = [(b":method", b"CONNECT"), (b":authority", b"10.0.0.1:80")]
OK: list[Header] = [(b":status", b"200")]


def without(headers: list[Header], name: bytes) -> list[Header]:
    return [header for header in headers if header[0] != name]


def replaced(headers: list[Header], name: bytes, value: bytes) -> list[Header]:
    return [(name, value) if header[0] == name else header for header in headers]


def request(headers: list[Header], *, end_stream: bool = False) -> int:
    return check_request(headers, end_stream=end_stream)


def response(headers: list[Header], *, end_stream: bool = False, method: bytes = b"GET") -> tuple[int, int]:
    return check_response(headers, end_stream=end_stream, method=method)


def detail(headers: list[Header], *, end_stream: bool = False) -> str:
    with pytest.raises(StreamBreachError) as caught:
        request(headers, end_stream=end_stream)
    assert caught.value.code is ErrorCode.PROTOCOL_ERROR
    return caught.value.detail


# -- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [b"GET", b"get", b"M-SEARCH", b"PROPFIND", b"!#$%&'*+-.^_`|~"])
def test_any_token_is_a_method(method: bytes) -> None:
    assert request(replaced(GET, b":method", method)) == UNMEASURED


@pytest.mark.parametrize("method", [b"", b"GET ", b"GET /x", b"G\xc3\xa9T", b"GE:T", b'"GET"', b"(GET)"])
def test_nothing_else_is(method: bytes) -> None:
    assert detail(replaced(GET, b":method", method)) in {"method", "value"}


@pytest.mark.parametrize("path", [b"/", b"/a/b;c=d?e=f&g", b"/%2e%2e/", b"//", b"/a?b/c?d", b"/:", b'/"<>\\^`{|}'])
def test_paths(path: bytes) -> None:
    assert request(replaced(GET, b":path", path)) == UNMEASURED


@pytest.mark.parametrize(
    "path", [b"", b"a", b"*", b"/a b", b"/a#b", b"/\xc3\xa9", b"/\x7f", b"/\t", b"http://x/", b"/\x00", b"/a\r\nb"]
)
def test_what_is_no_path(path: bytes) -> None:
    assert detail(replaced(GET, b":path", path)) in {"path", "value"}


def test_cve_2026_33186_a_path_begins_with_a_slash() -> None:
    assert detail(replaced(GET, b":path", b"package.Service/Method")) == "path"


def test_an_asterisk_is_for_options() -> None:
    options = replaced(replaced(GET, b":method", b"OPTIONS"), b":path", b"*")
    assert request(options) == UNMEASURED
    assert detail(replaced(options, b":method", b"GET")) == "path"


@pytest.mark.parametrize("authority", [b"a", b"a:80", b"10.0.0.1:80", b"[fd00::1]:80", b"a_b.example", b"a%20b"])
def test_authorities(authority: bytes) -> None:
    assert request(replaced(GET, b":authority", authority)) == UNMEASURED


@pytest.mark.parametrize("authority", [b"", b"user@host", b"a/b", b"a b", b"a?b", b"a#b", b"a\\b", b"\xc3\xa9"])
def test_what_is_no_authority(authority: bytes) -> None:
    assert detail(replaced(GET, b":authority", authority)) == "authority"
    assert detail([*without(GET, b":authority"), (b"host", authority)]) == "authority"


@pytest.mark.parametrize("scheme", [b"", b"ftp", b"HTTP", b"http ", b"https://x", b"http\t"])
def test_schemes(scheme: bytes) -> None:
    assert request(replaced(GET, b":scheme", b"https")) == UNMEASURED
    assert detail(replaced(GET, b":scheme", scheme)) in {"scheme", "value"}


@pytest.mark.parametrize("name", [b":method", b":scheme", b":path", b":authority"])
def test_pseudo_headers_are_needed_and_come_once(name: bytes) -> None:
    assert detail(without(GET, name)) in {"method", "scheme", "path", "authority"}
    value = dict(GET)[name]
    assert detail([*GET, (name, value)]) == "pseudo_header"
    assert detail([*without(GET, name), (b"accept", b"*/*"), (name, value)]) == "pseudo_header"


@pytest.mark.parametrize("name", [b":status", b":protocol", b":Method", b":", b":x"])
def test_unknown_pseudo_headers(name: bytes) -> None:
    assert detail([*GET, (name, b"200")]) == "pseudo_header"


def test_extended_connect_is_not_enabled() -> None:
    assert detail([*replaced(GET, b":method", b"CONNECT"), (b":protocol", b"websocket")]) == "pseudo_header"


def test_host_equals_authority_or_stands_for_it() -> None:
    authority = dict(GET)[b":authority"]
    assert request([*GET, (b"host", authority)]) == UNMEASURED
    assert request([*without(GET, b":authority"), (b"host", b"x")]) == UNMEASURED
    assert detail([*GET, (b"host", b"other")]) == "authority"
    assert detail([*GET, (b"host", authority), (b"host", authority)]) == "doubled_field"


@pytest.mark.parametrize(
    "name", [b"Accept", b"a b", b"a:b", b"", b"a\x00", b"a\r\nb", b"\xc3\xa9", b"a(b)", b"a/b", b"a\x7f"]
)
def test_names_are_lower_case_tokens(name: bytes) -> None:
    assert detail([*GET, (name, b"v")]) == "name"


@pytest.mark.parametrize("value", [b"", b"a", b"a b\tc", b"\xff\x80", b"!" * 5000])
def test_values(value: bytes) -> None:
    assert request([*GET, (b"x", value)]) == UNMEASURED


@pytest.mark.parametrize(
    "value", [b" a", b"a ", b"\ta", b"a\t", b" ", b"a\rb", b"a\nb", b"a\x00b", b"\x01", b"a\x7fb", b"a\r\nx: y"]
)
def test_cve_2019_9900_values_have_no_control_characters(value: bytes) -> None:
    assert detail([*GET, (b"x", value)]) == "value"


@pytest.mark.parametrize(
    "field",
    [
        (b"connection", b"close"),
        (b"connection", b""),
        (b"proxy-connection", b"keep-alive"),
        (b"keep-alive", b"timeout=5"),
        (b"transfer-encoding", b"chunked"),
        (b"upgrade", b"h2c"),
        (b"http2-settings", b"AAA"),
        (b"te", b"gzip"),
        (b"te", b"trailers, deflate"),
    ],
)
def test_fields_of_http1_connections(field: Header) -> None:
    assert detail([*GET, field]) == "connection_field"
    with pytest.raises(StreamBreachError):
        response([*OK, field])
    if field[0] != b"te":
        with pytest.raises(StreamBreachError):
            check_trailers([field])


def test_te_trailers_is_allowed() -> None:
    assert request([*GET, (b"te", b"trailers")]) == UNMEASURED
    assert detail([*GET, (b"te", b"trailers"), (b"te", b"trailers")]) == "doubled_field"


def test_cve_2026_47774_every_cookie_crumb_passes_as_a_field_of_its_own() -> None:
    assert request([*GET, (b"cookie", b"a=b"), (b"cookie", b"c=d")]) == UNMEASURED


@pytest.mark.parametrize(
    ("value", "length"), [(b"0", 0), (b"5", 5), (b"005", 5), (b"999999999999999", 999999999999999)]
)
def test_content_length_is_the_length(value: bytes, length: int) -> None:
    assert request([*GET, (b"content-length", value)]) == length


@pytest.mark.parametrize("value", [b"", b"-1", b"+5", b"5, 5", b"0x5", b"1e3", b"5 ", b"1" * 16, b"\xd9\xa1"])
def test_content_length_is_a_number(value: bytes) -> None:
    assert detail([*GET, (b"content-length", value)]) in {"content_length", "value"}


def test_h2_cl_length_and_end_stream_agree() -> None:
    assert request([*GET, (b"content-length", b"0")], end_stream=True) == 0
    assert request(GET, end_stream=True) == 0
    assert detail([*GET, (b"content-length", b"5")], end_stream=True) == "content_length"
    assert detail([*GET, (b"content-length", b"5"), (b"content-length", b"5")]) == "doubled_field"


# -- CONNECT ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("authority", [b"10.0.0.1:80", b"[fd00::1]:443", b"web.shop:8080"])
def test_connect(authority: bytes) -> None:
    assert request(replaced(CONNECT, b":authority", authority)) == UNMEASURED
    assert request([*CONNECT, (b"weft-source", b"x"), (b"host", b"10.0.0.1:80")]) == UNMEASURED


@pytest.mark.parametrize("authority", [b"10.0.0.1", b"a:", b":80", b"a:123456", b"a:8x", b"user@a:80"])
def test_connect_names_host_and_port(authority: bytes) -> None:
    assert detail(replaced(CONNECT, b":authority", authority)) in {"connect", "authority"}


@pytest.mark.parametrize(
    "extra", [(b":scheme", b"http"), (b":path", b"/"), (b"content-length", b"0"), (b"host", b"other:80")]
)
def test_connect_has_nothing_else(extra: Header) -> None:
    assert detail([*CONNECT, extra]) == "connect"


def test_connect_without_authority() -> None:
    assert detail(CONNECT[:1]) == "connect"


# -- responses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [b"200", b"204", b"304", b"404", b"599"])
def test_final_status(status: bytes) -> None:
    assert response([(b":status", status)], end_stream=True)[0] == int(status)


@pytest.mark.parametrize("status", [b"", b"20", b"2000", b"099", b"600", b"2 0", b"abc", b"101", b"+20"])
def test_what_is_no_status(status: bytes) -> None:
    with pytest.raises(StreamBreachError):
        response([(b":status", status)])


def test_a_response_has_one_pseudo_header() -> None:
    for headers in ([], [(b"server", b"x")], OK * 2, [(b"server", b"x"), *OK], [*OK, (b":path", b"/")]):
        with pytest.raises(StreamBreachError):
            response(headers)


def test_informational_heads() -> None:
    assert response([(b":status", b"103"), (b"link", b"</x>")]) == (103, UNMEASURED)
    with pytest.raises(StreamBreachError):
        response([(b":status", b"103")], end_stream=True)
    with pytest.raises(StreamBreachError):
        response([(b":status", b"100"), (b"content-length", b"0")])


def test_body_lengths_of_responses() -> None:
    sized: list[Header] = [*OK, (b"content-length", b"5")]
    assert response(OK) == (200, UNMEASURED)
    assert response(OK, end_stream=True) == (200, 0)
    assert response(sized) == (200, 5)
    assert response(sized, method=b"HEAD") == (200, 0)
    assert response(sized, end_stream=True, method=b"HEAD") == (200, 0)
    assert response([(b":status", b"304"), (b"content-length", b"5")], end_stream=True) == (304, 0)
    assert response([(b":status", b"204")]) == (204, 0)
    with pytest.raises(StreamBreachError):
        response(sized, end_stream=True)


def test_connect_2xx_has_no_length_and_a_refusal_has() -> None:
    assert response([*OK, (b"content-length", b"5")], method=b"CONNECT") == (200, UNMEASURED)
    assert response([(b":status", b"403"), (b"content-length", b"5")], method=b"CONNECT") == (403, 5)


# -- trailers ---------------------------------------------------------------------------------------------------------


def test_trailers_pass() -> None:
    trailers = [(b"grpc-status", b"0"), (b"grpc-message", b""), (b"x-checksum", b"abc")]
    assert check_trailers(trailers) == trailers
    assert check_trailers([]) == []


@pytest.mark.parametrize(
    "name", [b"content-length", b"host", b"authorization", b"cookie", b"content-type", b"te", b"trailer"]
)
def test_fields_without_meaning_behind_a_body_are_dropped(name: bytes) -> None:
    assert check_trailers([(b"a", b"b"), (name, b"5"), (b"c", b"d")]) == [(b"a", b"b"), (b"c", b"d")]


@pytest.mark.parametrize(
    "field", [(b":status", b"200"), (b":path", b"/"), (b"A", b"b"), (b"a", b"b\n"), (b"transfer-encoding", b"chunked")]
)
def test_malformed_trailers(field: Header) -> None:
    with pytest.raises(StreamBreachError):
        check_trailers([field])
