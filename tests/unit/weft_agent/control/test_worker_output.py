"""What workers write: whole lines whatever the pieces, and no line without an end."""

import os

import pytest
import trio

from weft_agent.control.worker_output import MAX_LINE_BYTES, follow_lines, pipe

pytestmark = pytest.mark.trio


async def followed(pieces: list[bytes]) -> bytes:
    read_end, write_end = pipe(writer_waits=False)
    taken: list[bytes] = []
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow_lines, read_end, taken.append)
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    try:
                        view = view[os.write(write_end, view) :]
                    except BlockingIOError:
                        await trio.sleep(0.001)
                await trio.lowlevel.checkpoint()
            os.close(write_end)
    assert all(chunk.endswith(b"\n") for chunk in taken)
    return b"".join(taken)


@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_lines_are_put_together_from_pieces(size: int) -> None:
    text = b"".join(b"line %d\n" % number for number in range(50))
    assert await followed([text[start : start + size] for start in range(0, len(text), size)]) == text


async def test_the_last_line_may_have_no_end() -> None:
    assert await followed([b"a\nlast wor", b"ds"]) == b"a\nlast words\n"


async def test_a_line_that_never_ends_does_not_grow() -> None:
    out = await followed([b"x" * 1000] * 200)
    assert max(map(len, out.splitlines())) <= MAX_LINE_BYTES + 65536


async def test_a_writer_that_waits_for_nobody_never_waits() -> None:
    read_end, write_end = pipe(writer_waits=False)
    os.write(write_end, b"x" * 65536)
    with pytest.raises(BlockingIOError):
        os.write(write_end, b"x")
    os.close(read_end)
    os.close(write_end)
