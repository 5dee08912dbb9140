"""HTTP/1.1 as a strict subset: heads, bodies and their bytes, for requests and responses alike.

Belongs here: the grammar, what fields mean to a proxy (framing, persistence, what may go on), the rules a peer can break,
and the serialiser that cannot be made to break them.
Does not belong here: what a path or a host means (`weft_core.canonical`), who may pass, and sockets. h11 reads the same
bytes in the tests and must accept whatever is accepted here.
"""

from weft_core.http1.chunked import ChunkedDecoder, may_be_trailer
from weft_core.http1.head import CHUNKED, UNTIL_EOF, RequestHead, ResponseHead, split_fields
from weft_core.http1.length import LengthBody
from weft_core.http1.request import parse_request
from weft_core.http1.response import next_informational, parse_response
from weft_core.http1.rules import RULES, Rule, RuleName
from weft_core.http1.serializer import LAST_CHUNK, encode_chunk, field_line, request_bytes, response_bytes

__all__ = [
    "CHUNKED",
    "LAST_CHUNK",
    "RULES",
    "UNTIL_EOF",
    "ChunkedDecoder",
    "LengthBody",
    "RequestHead",
    "ResponseHead",
    "Rule",
    "RuleName",
    "encode_chunk",
    "field_line",
    "may_be_trailer",
    "next_informational",
    "parse_request",
    "parse_response",
    "request_bytes",
    "response_bytes",
    "split_fields",
]
