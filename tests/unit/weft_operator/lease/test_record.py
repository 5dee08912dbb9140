"""A Lease as it is read and written."""

from weft_operator.lease.record import Record, lease_path, micro_time, read_record, written


def test_times_are_as_the_api_writes_them() -> None:
    assert micro_time(1764309600.25) == "2025-11-28T06:00:00.250000Z"


def test_what_is_missing_is_as_in_a_lease_that_nobody_holds() -> None:
    assert read_record({}) == Record(holder="", duration_s=0, renewed="", acquired="", transitions=0)


def test_what_is_written_is_read_back_and_the_rest_stays() -> None:
    record = Record(holder="a", duration_s=15, renewed="r", acquired="q", transitions=3)
    item = written({"metadata": {"resourceVersion": "7"}, "spec": {"strategy": "x"}}, record)
    assert read_record(item) == record
    assert (item["metadata"], item["spec"]["strategy"]) == ({"resourceVersion": "7"}, "x")


def test_paths() -> None:
    assert lease_path("ns", "l") == "/apis/coordination.k8s.io/v1/namespaces/ns/leases/l"
    assert lease_path("ns").endswith("/ns/leases")
