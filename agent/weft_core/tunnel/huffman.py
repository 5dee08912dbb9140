"""The Huffman code of HPACK, decoding only: our own strings go out plain.

Theory: the code is canonical, so its 257 lengths (RFC 7541 Appendix B) are all there is to know. From them a table is
built at first use: for each inner node of the tree and each half byte, the node reached, the symbols passed on the way,
and a mark where the string must not go on. A string may end only on the way of at most seven one-bits from the root,
which is what the padding of §5.2 comes to.
"""

from collections.abc import Iterator
from functools import cache
from typing import Final

EOS: Final = 256

# fmt: off
LENGTHS: Final = (
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28,
    28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13,
    6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6,
    6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23,
    23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23,
    22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21,
    22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
)
# fmt: on
"""Bits of the code of each symbol 0-255 and of EOS. Source: RFC 7541 Appendix B."""

LONGEST_PADDING_BITS: Final = 7

Step = tuple[int, bytes] | None
"""Node reached and symbols passed; None: EOS was met, which no string may hold."""


def decode(raw: bytes) -> bytes:
    """Return the string that `raw` encodes.

    Raises:
        ValueError: EOS inside, more than seven bits of padding, or padding that is not all ones.

    Source: RFC 7541 §5.2.
    """
    steps, endings = _tables()
    node = 0
    pieces: list[bytes] = []
    for byte in raw:
        for half in (byte >> 4, byte & 15):
            step = steps[node << 4 | half]
            if step is None:
                raise ValueError("the string holds EOS")
            node, symbols = step
            if symbols:
                pieces.append(symbols)
    if node not in endings:
        raise ValueError("the padding is not a short run of ones")
    return b"".join(pieces)


def codes() -> Iterator[tuple[int, int, int]]:
    """Give (symbol, code, bits) in order of the code: by length, then by symbol."""
    code = bits = 0
    for symbol in sorted(range(EOS + 1), key=lambda symbol: (LENGTHS[symbol], symbol)):
        code <<= LENGTHS[symbol] - bits
        bits = LENGTHS[symbol]
        yield symbol, code, bits
        code += 1


@cache
def _tables() -> tuple[list[Step], frozenset[int]]:
    children = _tree()
    steps = [_walk(children, node, half) for node in range(len(children)) for half in range(16)]
    endings = {0}
    node = 0
    for _ in range(LONGEST_PADDING_BITS):
        node = children[node][1]
        endings.add(node)
    return steps, frozenset(endings)


def _tree() -> list[list[int]]:
    """Return both children of each inner node; a leaf is `-1 - symbol`."""
    children = [[0, 0]]
    for symbol, code, bits in codes():
        node = 0
        for shift in range(bits - 1, 0, -1):
            bit = code >> shift & 1
            if not children[node][bit]:
                children[node][bit] = len(children)
                children.append([0, 0])
            node = children[node][bit]
        children[node][code & 1] = -1 - symbol
    return children


def _walk(children: list[list[int]], node: int, half: int) -> Step:
    symbols = bytearray()
    for shift in (3, 2, 1, 0):
        node = children[node][half >> shift & 1]
        if node < 0:
            symbol = -1 - node
            if symbol == EOS:
                return None
            symbols.append(symbol)
            node = 0
    return node, bytes(symbols)
