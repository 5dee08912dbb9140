"""The text of plans for each tool: golden files, and what holds for every plan.

`WEFT_UPDATE_GOLDEN=1` writes the golden files anew; read the difference before committing it.
"""

import os
import re
from collections import Counter
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_contract.resources import Capture
from weft_iptables.plan import (
    CapturePlan,
    Connection,
    Family,
    ipset_sets,
    iptables_lines,
    nft_lines,
    plan,
    render_iptables,
    render_nft,
)
from weft_iptables.plan.nft import render_nft_forgetting, render_nft_keeping, render_nft_removal
from weft_iptables.plan.restore import render_iptables_removal
from weft_iptables.plan.values import NetworkSet, PortSet

GOLDEN = Path(__file__).parent / "golden"
EXCLUSIONS = Capture(
    exclude_inbound_ports=((9090, 9090), (9100, 9110)),
    exclude_outbound_ports=((5432, 5432),),
    exclude_outbound_networks=("10.0.0.0/8", "fd00::/8"),
)
KEPT = (Connection("10.0.0.1", 40000, "192.0.2.1", 5432), Connection("fd00::1", 8080, "fd00::2", 40001))
PLANS: dict[str, CapturePlan] = {
    "plain": plan(Capture()),
    "exclusions": plan(EXCLUSIONS),
    "everything_out": plan(Capture(exclude_outbound_networks=("0.0.0.0/0", "::/0"))),
    "kept": plan(Capture(), keep=KEPT),
    "v4_only": plan(Capture(exclude_outbound_ports=((25, 25),)), captured=(4,)),
    "v6_refused": plan(Capture(exclude_outbound_ports=((25, 25),)), captured=(4,), refused=(6,)),
}


def texts(wanted: CapturePlan) -> dict[str, str]:
    found = {f"iptables{family}": render_iptables(wanted, family) for family in wanted.families}
    found["nft"] = render_nft(wanted)
    found["ipset"] = "".join(
        f"{item.name} {item.kind} IPv{item.family} {sorted(map(str, item.entries))}\n" for item in ipset_sets(wanted)
    )
    return found


@pytest.mark.parametrize("name", PLANS)
def test_the_text_is_as_recorded(name: str) -> None:
    for tool, text in texts(PLANS[name]).items():
        path = GOLDEN / f"{name}.{tool}"
        if os.environ.get("WEFT_UPDATE_GOLDEN") == "1":
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        assert text == path.read_text(), path.name


def test_every_golden_file_belongs_to_a_plan() -> None:
    expected = {f"{name}.{tool}" for name, wanted in PLANS.items() for tool in texts(wanted)}
    assert {path.name for path in GOLDEN.iterdir()} == expected


# -- for every plan -----------------------------------------------------------------------------------------------

ports = st.integers(0, 65535)
ranges = st.lists(st.tuples(ports, ports).map(lambda pair: (min(pair), max(pair))), max_size=5).map(tuple)
networks = st.sampled_from(
    ["10.0.0.0/8", "0.0.0.0/0", "192.0.2.7/32", "::/0", "fd00::/8", "2001:db8::1", "::ffff:1.2.3.0/120"]
)
connections = st.sets(st.sampled_from([*KEPT, *(connection.twin for connection in KEPT)]), max_size=4)
plans = st.builds(
    lambda inbound, outbound, excluded, keep, captured: plan(
        Capture(
            exclude_inbound_ports=inbound, exclude_outbound_ports=outbound, exclude_outbound_networks=tuple(excluded)
        ),
        captured=captured,
        refused=(4, 6),
        keep=keep,
    ),
    ranges,
    ranges,
    st.lists(networks, max_size=4),
    connections,
    st.sampled_from([(4, 6), (4,), (6,)]),
)


@given(plans)
def test_iptables_says_tcp_where_the_language_wants_it(wanted: CapturePlan) -> None:
    for family in wanted.families:
        for line in iptables_lines(wanted, family):
            if re.search(r"TPROXY|--syn|-m socket|--[sd]port", line.text):
                assert line.text.count("-p tcp") == 1
                assert "! -p tcp" not in line.text


@given(plans)
def test_nft_intercepts_by_protocol_and_family_and_drops_after_it(wanted: CapturePlan) -> None:
    lines = nft_lines(wanted)
    for line, after in zip(lines, [*lines[1:], None], strict=True):
        assert len(re.search(r'comment "(.*)"', line.text).group(1)) <= 128  # type: ignore[union-attr]  # each has one
        if "tproxy" in line.text:
            assert "meta l4proto tcp" in line.text
            assert "meta nfproto ipv" in line.text
            assert after is not None
            assert after.text.startswith(line.text.partition(" counter")[0] + " counter drop")


@given(plans)
def test_the_last_rule_of_each_chain_lets_no_tcp_pass(wanted: CapturePlan) -> None:
    for family in wanted.families:
        for chain in ("WEFT_PRE", "WEFT_OUT"):
            lines = [line.text for line in iptables_lines(wanted, family) if line.chain == chain]
            assert lines[-1] == "-p tcp -j DROP" or "TPROXY" in lines[-1] or "MARK" in lines[-2]


@given(plans)
def test_sets_are_named_where_they_are_made_and_nowhere_else(wanted: CapturePlan) -> None:
    script = render_nft(wanted)
    assert set(re.findall(r"@(\w+)", script)) == set(re.findall(r"add set inet weft (\w+)", script))
    named = {name for family in (4, 6) for name in re.findall(r"set (weft_\w+)", render_iptables(wanted, family))}
    made = {item.name for item in ipset_sets(wanted)}
    assert named <= made
    assert made - named <= {"weft_out_net4", "weft_out_net6"} | {name for name in made if "keep" in name}
    assert all(len(name) < 32 for name in made), "ipset names are at most 31 characters"


@given(plans)
def test_elements_appear_exactly(wanted: CapturePlan) -> None:
    script = render_nft(wanted)
    for item in wanted.sets:
        found = re.search(rf"add element inet weft {item.name} {{ (.*) }}", script)
        elements = found.group(1).split(", ") if found else []
        made = {entry for one in ipset_sets(wanted) if one.name == f"weft_{item.name}" for entry in one.entries}
        if isinstance(item, PortSet):
            spans = [tuple(map(int, text.split("-"))) for text in elements]
            assert [(span[0], span[-1]) for span in spans] == list(item.ranges)
            assert made == set(item.ranges)
        elif isinstance(item, NetworkSet):
            assert [ip_network(text) for text in elements] == list(item.networks)
            halves = [ip_network(str(text)) for text in made]
            assert sum(net.num_addresses for net in halves) == sum(net.num_addresses for net in item.networks)
            assert all(net.prefixlen > 0 for net in halves), "hash:net has no prefix of length 0"


@given(plans, st.sets(ports, max_size=5))
def test_a_replacement_differs_from_a_refill_by_throwing_away_first(wanted: CapturePlan, learned: set[int]) -> None:
    refill = render_nft(wanted, learned=learned).splitlines()
    replacement = render_nft(wanted, learned=learned, replace=True).splitlines()
    assert replacement == [refill[0], "delete table inet weft", *refill]


# -- transitions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [4, 6])
def test_jumps_that_are_there_are_taken_out_and_one_is_put_first(family: Family) -> None:
    lines = Counter(render_iptables(PLANS["plain"], family, {"PREROUTING": 2, "OUTPUT": 1}).splitlines())
    assert lines["-D PREROUTING -j WEFT_PRE"] == 2
    assert lines["-D OUTPUT -j WEFT_OUT"] == 1
    assert lines["-D INPUT -j WEFT_IN"] == 0
    assert (
        lines["-I PREROUTING 1 -j WEFT_PRE"] == lines["-I OUTPUT 1 -j WEFT_OUT"] == lines["-I INPUT 1 -j WEFT_IN"] == 1
    )


def test_removal_names_what_is_there_only() -> None:
    assert render_iptables_removal({"INPUT": 1}, frozenset({"WEFT_IN", "WEFT_PRE"})) == (
        "*mangle\n-D INPUT -j WEFT_IN\n-F WEFT_IN\n-F WEFT_PRE\n-X WEFT_IN\n-X WEFT_PRE\nCOMMIT\n"
    )
    assert render_nft_removal() == "delete table inet weft\n"


def test_stale_sets_go_last_and_learned_ports_are_added() -> None:
    script = render_nft(PLANS["exclusions"], stale_sets=["keep4"], learned={7, 5}).splitlines()
    assert script[-1] == "delete set inet weft keep4"
    assert "add element inet weft learned_ports { 5, 7 }" in script
    assert "flush set inet weft learned_ports" not in script


def test_keeping_and_forgetting() -> None:
    element = "10.0.0.1 . 40000 . 192.0.2.1 . 5432"
    assert render_nft_keeping("keep4", [KEPT[0]]) == f"add element inet weft keep4 {{ {element} }}\n"
    assert render_nft_forgetting("keep4", [KEPT[0]]) == f"delete element inet weft keep4 {{ {element} }}\n"
