"""Memory of decisions stays within its budget, whoever asks."""

from hypothesis import given
from hypothesis import strategies as st

from weft_core.memo import MemoBudget


def test_what_was_put_is_there() -> None:
    budget = MemoBudget()
    table: dict[str, int] = {}
    budget.put(table, "a", 1, 1)
    assert table == {"a": 1}


def test_long_keys_are_not_kept() -> None:
    budget = MemoBudget(key_bytes_max=4)
    table: dict[str, int] = {}
    budget.put(table, "aaaa", 1, 4)
    budget.put(table, "aaaaa", 1, 5)
    assert list(table) == ["aaaa"]


def test_forgetting_empties_every_table() -> None:
    budget = MemoBudget()
    one: dict[int, int] = {}
    two: dict[int, int] = {}
    budget.put(one, 1, 1, 1)
    budget.put(two, 1, 1, 1)
    budget.forget()
    assert (one, two) == ({}, {})


@given(st.integers(1, 20), st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1000)), max_size=200))
def test_all_tables_together_never_exceed_the_budget(bound: int, puts: list[tuple[int, int]]) -> None:
    budget = MemoBudget(entries_max=bound)
    tables: list[dict[int, int]] = [{} for _ in range(5)]
    for which, key in puts:
        if key not in tables[which]:
            budget.put(tables[which], key, key, 1)
        assert tables[which][key] == key
        assert sum(len(table) for table in tables) <= bound
