"""The hosts file: whatever is written in which order, a reader in between sees every line that stays."""

from hypothesis import given, settings
from hypothesis import strategies as st

from weft_lab.plan import hostsfile
from weft_lab.plan.hostnames import HostEntry
from weft_lab.plan.hostsfile import HostsFile, Patch

addresses = st.sampled_from(["10.0.0.1", "fd57::1", "10.128.200.30"])
names = st.sampled_from(["a", "web.shop", "x" * 90])
entries = st.sets(st.builds(lambda address, name: HostEntry(address, (name,)), addresses, names), max_size=9)


def lines(data: bytes) -> set[str]:
    return {line for line in data.decode().split("\n") if line and not line.startswith("#")}


def written(disk: bytearray, patch: Patch) -> None:
    disk[patch.offset : patch.offset + len(patch.data)] = patch.data


@settings(max_examples=200)
@given(st.lists(entries, max_size=12))
def test_the_file_holds_exactly_what_is_wanted_and_never_less_than_what_stays(states: list[set[HostEntry]]) -> None:
    file, disk = HostsFile(), bytearray()
    before: set[str] = set()
    for state in states:
        wanted = {entry.line().rstrip("\n") for entry in state}
        for patch in file.patches(sorted(state)):
            written(disk, patch)
            assert before & wanted <= lines(bytes(disk))
            assert lines(bytes(disk)) <= before | wanted, "no line may come out torn"
        assert lines(bytes(disk)) == wanted
        assert bytes(disk) == file.content()
        assert max((len(line) for line in disk.split(b"\n") if line.startswith(b"#")), default=0) < 80
        before = wanted


def test_lines_keep_their_place() -> None:
    file = HostsFile([HostEntry("10.0.0.1", ("a",)), HostEntry("10.0.0.2", ("b",))])
    where = file.content().index(b"10.0.0.2")
    file.patches([HostEntry("10.0.0.2", ("b",)), HostEntry("10.0.0.3", ("c",))])
    assert file.content().index(b"10.0.0.2") == where


def test_nothing_changed_means_nothing_written() -> None:
    same = [HostEntry("10.0.0.1", ("a",))]
    assert HostsFile(same).patches(same) == []


def test_a_churning_file_is_written_anew_and_does_not_grow_for_ever() -> None:
    file, disk = HostsFile(), bytearray()
    for number in range(6000):
        for patch in file.patches(
            [HostEntry("10.0.0.1", ("stays",)), HostEntry("10.0.0.2", (f"name-{number}.shop.svc",))]
        ):
            written(disk, patch)
        assert len(lines(bytes(disk))) == 2
    assert bytes(disk) == file.content()
    assert len(disk) < 3 * hostsfile._DEAD_BYTES_ALLOWED
