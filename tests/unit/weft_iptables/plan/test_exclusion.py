"""Which connections an exclusion covers."""

import pytest

from weft_contract.resources import Capture
from weft_iptables.plan import Connection, excluded, learned_ports, plan

SETS = plan(
    Capture(
        exclude_inbound_ports=((9090, 9099),),
        exclude_outbound_ports=((5432, 5433),),
        exclude_outbound_networks=("198.51.100.0/24", "2001:db8::/32"),
    )
).sets


@pytest.mark.parametrize(
    ("connection", "covered", "learned"),
    [
        (Connection("10.0.0.1", 8080, "192.0.2.1", 40000), False, False),
        (Connection("10.0.0.1", 9090, "192.0.2.1", 40000), True, False),
        (Connection("10.0.0.1", 9100, "192.0.2.1", 40000), False, False),
        (Connection("10.0.0.1", 40000, "192.0.2.1", 5433), True, True),
        (Connection("10.0.0.1", 5432, "192.0.2.1", 40000), False, False),
        (Connection("10.0.0.1", 40000, "192.0.2.1", 9090), False, False),
        (Connection("10.0.0.1", 40000, "198.51.100.255", 443), True, True),
        (Connection("10.0.0.1", 40000, "198.51.101.0", 443), False, False),
        (Connection("fd00::1", 40000, "2001:db8::1", 443), True, True),
        (Connection("fd00::1", 40000, "2001:db9::1", 443), False, False),
    ],
)
def test_a_connection_is_covered_by_its_own_port_or_its_other_end(
    connection: Connection, covered: bool, learned: bool
) -> None:
    assert excluded(SETS, [connection]) == (frozenset({connection}) if covered else frozenset())
    assert learned_ports(SETS, [connection]) == (frozenset({connection.local_port}) if learned else frozenset())


def test_without_exclusions_nothing_is_covered() -> None:
    connection = Connection("10.0.0.1", 9090, "198.51.100.1", 5432)
    assert excluded((), [connection]) == frozenset()
    assert learned_ports((), [connection]) == frozenset()


def test_a_connection_knows_its_family_and_its_twin() -> None:
    connection = Connection("fd00::1", 1, "fd00::2", 2)
    assert connection.family == 6
    assert Connection("10.0.0.1", 1, "10.0.0.2", 2).family == 4
    assert connection.twin == Connection("fd00::2", 2, "fd00::1", 1)
    assert connection.twin.twin == connection
