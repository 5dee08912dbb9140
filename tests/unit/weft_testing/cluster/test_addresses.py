"""Names that nobody else can have, and addresses that no two clusters share."""

from ipaddress import ip_address, ip_network
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_testing.cluster.addresses import (
    MAX_CLUSTERS,
    MAX_NODES,
    Addresses,
    ClusterNameError,
    check_name,
    free_index,
    own_name,
    owner_of,
)

names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?", fullmatch=True)


@given(names, st.sampled_from(["hub", "cp", "n1", "n200", "state"]))
def test_the_owner_of_a_name_is_found_again(cluster: str, part: str) -> None:
    assert check_name(cluster) == cluster
    assert owner_of(own_name(cluster, part)) == cluster


@given(names, names)
def test_no_cluster_owns_what_is_another_ones(one: str, other: str) -> None:
    assert (owner_of(own_name(one, "n1")) == other) == (one == other)


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a.b", "a/b", "ä", "a" * 21, "a\n"])
def test_a_name_that_would_be_trouble_is_refused(name: str) -> None:
    with pytest.raises(ClusterNameError, match="1-20 characters"):
        check_name(name)


@pytest.mark.parametrize(
    "name", ["eth0", "weft-lab.default.fabric", "weft-cluster", "weft-cluster.a", "weft-cluster..n1"]
)
def test_what_is_not_ours_has_no_owner(name: str) -> None:
    assert owner_of(name) is None


def test_the_lowest_free_number_is_taken() -> None:
    assert free_index(set()) == 0
    assert free_index({0, 1, 3}) == 2
    with pytest.raises(ClusterNameError, match="take one down"):
        free_index(set(range(MAX_CLUSTERS)))


@pytest.mark.parametrize("family", [0, 1])
def test_ranges_of_all_clusters_are_apart(family: int) -> None:
    ranges = [
        ip_network(text)
        for index in range(MAX_CLUSTERS)
        for text in (Addresses(index).pod_ranges[family], Addresses(index).service_ranges[family])
    ]
    assert not any(one.overlaps(other) for one, other in combinations(ranges, 2))
    hosts = [
        ip_address(host)
        for index in range(MAX_CLUSTERS)
        for host in (
            Addresses(index).control_plane[family],
            *(Addresses(index).node(number)[family] for number in range(1, MAX_NODES + 1)),
        )
    ]
    assert len(set(hosts)) == MAX_CLUSTERS * (MAX_NODES + 1)
    assert not any(host in each for host in hosts for each in ranges)


@given(st.integers(0, MAX_CLUSTERS - 1), st.integers(1, MAX_NODES))
def test_a_nodes_pods_are_within_the_clusters_and_apart_from_other_nodes(index: int, number: int) -> None:
    addresses = Addresses(index)
    for family in (0, 1):
        whole = ip_network(addresses.pod_ranges[family])
        own = ip_network(addresses.node_pods(number)[family])
        assert own.subnet_of(whole)  # type: ignore[arg-type]  # both are of the same family
        if number < MAX_NODES:
            assert not own.overlaps(ip_network(addresses.node_pods(number + 1)[family]))


@given(st.integers(0, MAX_CLUSTERS - 1))
def test_well_known_services_are_in_the_range_of_services(index: int) -> None:
    addresses = Addresses(index)
    services = ip_network(addresses.service_ranges[0])
    assert ip_address(addresses.api_service) == services[1]
    assert ip_address(addresses.dns_service) in services
