"""The store: revisions grow, uids stay, generations count what was wished."""

from weft_lab.daemon.store import Store, timestamp
from weft_lab.model import Key
from weft_testing.lab import pod

KEY = Key("Pod", "shop", "a")


def test_an_object_keeps_uid_and_birth_and_counts_changes() -> None:
    changes: list[int] = []
    store = Store(lambda: changes.append(1))
    first = store.create(KEY, pod("a"))
    second = store.update(KEY, pod("a", ready=True))
    third = store.update(KEY, pod("a"), generation=True)
    assert first.metadata.uid == second.metadata.uid == third.metadata.uid
    assert [item.metadata.generation for item in (first, second, third)] == [1, 1, 2]
    assert [item.metadata.resource_version for item in (first, second, third)] == ["1", "2", "3"]
    assert store.revision == 3
    assert len(changes) == 3


def test_a_view_stays_as_it_was() -> None:
    store = Store(lambda: None)
    store.create(KEY, pod("a"))
    view = store.view()
    store.delete(KEY)
    assert KEY in view.objects
    assert store.get(KEY) is None


def test_deleting_what_is_not_there_changes_nothing() -> None:
    store = Store(lambda: None)
    store.delete(KEY)
    assert store.revision == 0


def test_times_are_written_as_the_api_does() -> None:
    assert timestamp(0) == "1970-01-01T00:00:00Z"
