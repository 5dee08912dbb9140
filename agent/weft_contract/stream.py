"""What agent and operator say to each other: one WebSocket per node, and one POST per certificate.

Theory: the operator keeps no state of a session that a reconnect could lose. The agent says what it has (`Hello.have`), the
operator sends what differs, the agent answers every `Update` with what came of it on that node. Any replica may serve any
node, because compiling is deterministic: same objects, same bytes, same hashes.

Transport: HTTPS on `ports.STREAM_PORT`, server certificate of the mesh's own roots for the name `SERVER_NAME`;
`Authorization: Bearer <projected token, audience TOKEN_AUDIENCE>`. `GET STREAM_PATH` upgrades to a WebSocket of subprotocol
`SUBPROTOCOL` that carries one msgpack message per binary frame, at most `MAX_FRAME_BYTES`; larger updates come in parts
(`Update.more`). `POST CERTIFICATE_PATH` takes and returns JSON (`CertificateRequest`, `CertificateAnswer`); refusals are
`application/problem+json` (RFC 9457) with a `detail` that says what to do.
"""

from typing import Annotated, Final, TypeAlias, cast

import msgspec

SUBPROTOCOL: Final = "weft.config.v1"
STREAM_PATH: Final = "/v1/stream"
CERTIFICATE_PATH: Final = "/v1/certificate"
SERVER_NAME: Final = "weft-operator"
TOKEN_AUDIENCE: Final = "weft-operator"
MAX_FRAME_BYTES: Final = 1024 * 1024
MAX_HELLO_BYTES: Final = 8 * 1024 * 1024
"""`Hello.have` of 50 000 resources."""

Hash = str
Key = str


class _Message(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    pass


# -- agent to operator --------------------------------------------------------------------------------------------


class Hello(_Message, frozen=True, kw_only=True, tag="hello"):
    """First message of a session."""

    node: str
    """Must equal the node of the token; anything else ends the session."""
    build: str
    """Version of the agent."""
    schema: str
    """`weft_contract.resources.document.SCHEMA` the agent reads; the operator refuses one it cannot write."""
    have: dict[Key, Hash]
    """What the agent holds, by resource key."""


class Ack(_Message, frozen=True, kw_only=True, tag="ack"):
    """An update is in force on the whole node: every worker decides by it."""

    nonce: int
    refused: tuple[tuple[Key, Hash, str], ...] = ()
    """Resources that kept their last good version: key, hash refused, reason."""


class Pods(_Message, frozen=True, kw_only=True, tag="pods"):
    """What the agent sees on its node that the operator should show: pods by capture state."""

    captured: tuple[str, ...] = ()
    """`namespace/name`."""
    waiting: tuple[tuple[str, str], ...] = ()
    """`namespace/name` and why it is not captured (yet)."""


FromAgent: TypeAlias = Hello | Ack | Pods


# -- operator to agent --------------------------------------------------------------------------------------------


class Update(_Message, frozen=True, kw_only=True, tag="update"):
    """Differences; to be applied when a part with `more` False has come."""

    nonce: int
    """Rises; all parts of one update carry the same."""
    upserts: tuple[tuple[Key, Hash, bytes], ...] = ()
    """Key, hash and canonical JSON of each resource."""
    removes: tuple[Key, ...] = ()
    more: bool = False


class Goodbye(_Message, frozen=True, kw_only=True, tag="goodbye"):
    """The operator ends the session in order; connect again (elsewhere) after `retry_after_s`, with jitter."""

    reason: str
    retry_after_s: float = 0.0


FromOperator: TypeAlias = Update | Goodbye

encoder: Final = msgspec.msgpack.Encoder()
from_agent_decoder: Final = msgspec.msgpack.Decoder(cast("type[FromAgent]", FromAgent))
from_operator_decoder: Final = msgspec.msgpack.Decoder(cast("type[FromOperator]", FromOperator))


# -- certificates -------------------------------------------------------------------------------------------------


class CertificateRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Asks for a certificate of one service account of this node."""

    namespace: str
    service_account: str
    csr: Annotated[str, msgspec.Meta(max_length=8192)]
    """PKCS #10 in PEM; only its public key is taken."""


class CertificateAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A certificate."""

    chain: str
    """PEM, leaf first, intermediates after it."""
    identity: str
    not_after_unix_s: float
