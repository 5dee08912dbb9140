"""Service translation as nft text: every Service port once, hairpin and refusal for all; nft itself judges it in tests/netns."""

import re

from weft_lab.addressing import AddressPlan
from weft_lab.plan.endpoints import Backend, ServiceRule
from weft_lab.plan.translation import translation_table

PLAN = AddressPlan(0)
V4 = ServiceRule("shop/web", "10.128.0.10", "TCP", 80, (Backend("10.64.1.2", 8080), Backend("10.64.2.2", 8080)))
V6 = ServiceRule("shop/web", "fd57:1ab:0:fffe::a", "TCP", 80, (Backend("fd57:1ab:0:1::2", 8080),))
EMPTY = ServiceRule("shop/none", "10.128.0.11", "UDP", 53, ())


def table(*rules: ServiceRule) -> str:
    return translation_table(rules, PLAN.node(1), PLAN)


def test_it_replaces_the_whole_table_in_one_transaction() -> None:
    assert table().splitlines()[:3] == ["table inet weft_lab", "delete table inet weft_lab", "table inet weft_lab {"]


def test_every_service_port_is_one_entry_of_its_map() -> None:
    text = table(V4, V6, EMPTY)
    assert len(re.findall(r"10\.128\.0\.10 \. 80 : goto svc_\w+", text)) == 1
    assert len(re.findall(r"fd57:1ab:0:fffe::a \. 80 : goto svc_\w+", text)) == 1
    assert re.search(r"map udp4 \{[^}]*\n\s*elements = \{ 10\.128\.0\.11 \. 53", text)


def test_backends_are_picked_at_random_among_all() -> None:
    text = table(V4)
    assert "numgen random mod 2 vmap" in text
    assert "dnat ip to 10.64.1.2:8080" in text
    assert "dnat ip to 10.64.2.2:8080" in text
    assert "dnat ip6 to [fd57:1ab:0:1::2]:8080" in table(V6)


def test_a_pod_that_reaches_itself_gets_the_nodes_address() -> None:
    text = table(V4)
    assert "ip saddr 10.64.1.2 meta mark set meta mark | 0x4000" in text
    assert "snat ip to 10.64.255.1" in text
    assert "snat ip6 to fd57:1ab:0:ffff::1" in text


def test_what_stays_addressed_to_the_service_network_is_refused() -> None:
    text = table()
    assert "ip daddr 10.128.0.0/16 meta l4proto tcp reject with tcp reset" in text
    assert "ip6 daddr fd57:1ab:0:fffe::/112 reject with icmpx type port-unreachable" in text


def test_same_rules_same_text() -> None:
    assert table(V4, EMPTY) == table(V4, EMPTY)
    assert table(V4) != table(V4._replace(backends=V4.backends[:1]))
