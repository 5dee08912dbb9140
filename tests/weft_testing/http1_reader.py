"""Reads a connection's bytes with the parsers of `weft_core.http1`, as a session would: message after message, in any cut."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from weft_contract.limits import Limits
from weft_core.errors import RemoteProtocolError
from weft_core.http1 import (
    CHUNKED,
    UNTIL_EOF,
    ChunkedDecoder,
    LengthBody,
    RequestHead,
    ResponseHead,
    next_informational,
    parse_request,
    parse_response,
)

LIMITS = Limits()


@dataclass
class Message:
    """One message as read."""

    head: RequestHead | ResponseHead
    body: bytes = b""
    """Payload."""
    framed: bytes = b""
    """The body as it is forwarded."""
    trailers: bytes = b""
    start: int = 0
    """Where it begins in everything that was fed."""
    complete: bool = False


@dataclass
class Reader:
    """Takes bytes of one direction of a connection; what comes after the last message is left unread.

    `method` is None for requests, and the method of the request for responses.
    """

    method: bytes | None = None
    limits: Limits = LIMITS
    use_searched: bool = True
    messages: list[Message] = field(default_factory=list)
    refused: RemoteProtocolError | None = None
    _buffer: bytearray = field(default_factory=bytearray)
    _searched: int = 0
    _body: ChunkedDecoder | LengthBody | None = None
    _raw: ChunkedDecoder | None = None
    _informational: int = 0
    consumed: int = 0
    """Bytes that belong to a message."""

    def feed(self, data: bytes) -> None:
        """Take bytes; after a refusal everything is ignored, as a closed connection would."""
        if self.refused is None:
            self._buffer += data
            try:
                while self._step():
                    pass
            except RemoteProtocolError as exc:
                self.refused = exc

    @property
    def incomplete(self) -> bool:
        """True if a message has begun and not ended."""
        return self.refused is None and not self.closed and bool(self._buffer or self._body is not None)

    @property
    def closed(self) -> bool:
        """True behind a message whose sender ends the connection, or its use for HTTP."""
        if not self.messages or not self.messages[-1].complete:
            return False
        head = self.messages[-1].head
        return not head.keep_alive or (isinstance(head, ResponseHead) and head.status == 101)

    @property
    def rule(self) -> str | None:
        """Name of the rule that was broken."""
        return None if self.refused is None else self.refused.detail

    def _step(self) -> bool:
        if self._body is not None:
            return self._take_body(self._body)
        if not self._buffer or self.closed:
            return False
        head = self._parse()
        if head is None:
            self._searched = len(self._buffer)
            return False
        self._searched = 0
        self._begin(head)
        self._drop(head.size)
        return True

    def _parse(self) -> RequestHead | ResponseHead | None:
        searched = self._searched if self.use_searched else 0
        if self.method is None:
            return parse_request(self._buffer, self.limits, searched)
        return parse_response(self._buffer, self.limits, self.method, searched)

    def _begin(self, head: RequestHead | ResponseHead) -> None:
        message = Message(head, start=self.consumed)
        self.messages.append(message)
        if isinstance(head, ResponseHead) and head.status < 200:
            self._informational = next_informational(self._informational, self.limits)
        if head.length == CHUNKED:
            response = self.method is not None
            self._body = ChunkedDecoder(self.limits, response=response)
            self._raw = ChunkedDecoder(self.limits, response=response, decode=True)
        elif head.length == 0:
            message.complete = True
        else:
            self._body = LengthBody(1 << 60 if head.length == UNTIL_EOF else head.length)

    def _take_body(self, body: ChunkedDecoder | LengthBody) -> bool:
        message = self.messages[-1]
        if isinstance(body, LengthBody):
            taken = body.take(len(self._buffer))
            message.body += bytes(self._buffer[:taken])
            message.framed = message.body
        else:
            taken = self._take_chunks(body, message)
        self._drop(taken)
        if body.finished:
            message.complete = True
            self._body = None
        return body.finished

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self.consumed += count

    def _take_chunks(self, body: ChunkedDecoder, message: Message) -> int:
        assert self._raw is not None
        data = bytes(self._buffer)
        pieces, finished, taken = body.feed(data)
        payload, also_finished, also_taken = self._raw.feed(data)
        assert (finished, taken) == (also_finished, also_taken)
        message.framed += b"".join(pieces)
        message.body += b"".join(payload)
        assert body.payload_bytes == self._raw.payload_bytes == len(message.body)
        message.trailers = body.trailers
        return taken


def read(pieces: Iterable[bytes], method: bytes | None = None, limits: Limits = LIMITS) -> Reader:
    """Read bytes in the pieces they come in.

    Args:
        pieces: all bytes of the connection.
        method: None for requests.
        limits: of the parsers.
    """
    reader = Reader(method, limits)
    for piece in pieces:
        reader.feed(piece)
    return reader


def each_byte(data: bytes) -> list[bytes]:
    """Cut into single bytes."""
    return [data[index : index + 1] for index in range(len(data))]
