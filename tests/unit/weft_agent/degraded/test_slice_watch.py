"""Names of Services, cut into what fits a URL."""

from weft_agent.degraded.slice_watch import in_chunks


def test_names_go_in_bounded_chunks() -> None:
    names = [f"service-{number:04d}" for number in range(1000)]
    chunks = list(in_chunks(names))
    assert [name for chunk in chunks for name in chunk] == names
    assert all(len(",".join(chunk)) <= 4096 for chunk in chunks)
    assert len(chunks) == 4
    assert list(in_chunks([])) == []
