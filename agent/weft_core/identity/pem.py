"""PEM: labelled base64 blocks. Certificates and one private key are all that we take from such a file.

Theory: blocks are decoded here and written anew by `write_pem` before OpenSSL sees them, so what was checked is what is
loaded. Text outside of blocks (comments, `openssl x509 -text`) is passed over; headers inside of them are not base64.

Source: RFC 7468 §2, §3.
"""

import binascii
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

CERTIFICATE: Final = "CERTIFICATE"
PRIVATE_KEYS: Final = frozenset({"PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"})
ENCRYPTED_PRIVATE_KEY: Final = "ENCRYPTED PRIVATE KEY"

_BEGIN: Final = b"-----BEGIN "
_END: Final = b"-----END "
_BORDER: Final = b"-----"
_LINE_CHARACTERS: Final = 64


class PemError(ValueError):
    """The text is not the PEM that was expected; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class PemBlock:
    """One block; `repr` leaves the content out, since it may be a key."""

    label: str
    der: bytes

    def __repr__(self) -> str:
        """Give label and size."""
        return f"PemBlock({self.label!r}, {len(self.der)} bytes)"


def read_pem(text: bytes) -> tuple[PemBlock, ...]:
    """Return the blocks of a PEM text, in order.

    Raises:
        PemError: a BEGIN or END line without its partner, or content that is not base64.
    """
    return tuple(_read_blocks(line.rstrip() for line in text.split(b"\n")))


def read_certificates(text: bytes, *, at_most: int) -> tuple[bytes, ...]:
    """Return the certificates of a text that holds nothing else, as DER, in order.

    Raises:
        PemError: no certificate, too many, or a block of another kind.
    """
    blocks = read_pem(text)
    for block in blocks:
        if block.label != CERTIFICATE:
            raise PemError(f"a block {block.label!r} stands where only certificates should")
    if not 1 <= len(blocks) <= at_most:
        raise PemError(f"{len(blocks)} certificates, there must be 1 to {at_most}")
    return tuple(block.der for block in blocks)


def write_pem(label: str, der: bytes) -> bytes:
    """Return the canonical PEM block of `der`."""
    body = binascii.b2a_base64(der, newline=False)
    lines = (body[start : start + _LINE_CHARACTERS] for start in range(0, len(body), _LINE_CHARACTERS))
    name = label.encode("ascii")
    return b"\n".join((_BEGIN + name + _BORDER, *lines, _END + name + _BORDER, b""))


def _read_blocks(lines: Iterable[bytes]) -> Iterator[PemBlock]:
    label: bytes | None = None
    body: list[bytes] = []
    for line in lines:
        if line.startswith(_BEGIN):
            if label is not None:
                raise PemError("a block begins inside another")
            label, body = _label(line, _BEGIN), []
        elif line.startswith(_END):
            if label is None or _label(line, _END) != label:
                raise PemError("an END line has no BEGIN line before it")
            yield _decode(label.decode("ascii", "replace"), b"".join(body))
            label = None
        elif label is not None:
            body.append(line)
    if label is not None:
        raise PemError("a block has no END line")


def _label(line: bytes, begin: bytes) -> bytes:
    if not line.endswith(_BORDER) or len(line) < len(begin) + len(_BORDER):
        raise PemError("a BEGIN or END line does not end in five dashes")
    return line[len(begin) : -len(_BORDER)]


def _decode(label: str, body: bytes) -> PemBlock:
    try:
        der = binascii.a2b_base64(body, strict_mode=True)
    except binascii.Error as exc:
        raise PemError(f"the block {label!r} is not base64: {exc}") from exc
    if binascii.b2a_base64(der, newline=False) != body:  # padding that says nothing
        raise PemError(f"the block {label!r} is not canonical base64")
    return PemBlock(label, der)
