"""What is changed behind our back is found, named and healed; what we put there we take away again."""

import os
import threading
import time
from pathlib import Path

import pytest

from weft_contract.resources import Capture
from weft_iptables.backends import BackendName, open_backend
from weft_iptables.errors import CaptureRefusedError, KernelRefusedError, UnrepairedError
from weft_iptables.plan import plan
from weft_testing.capture_world import EXCLUDED_IN, PORT, SHORT_S, USUAL, VIP_B, CaptureWorld, call, dial
from weft_testing.netns import Place

pytestmark = pytest.mark.netns

WIDE = Capture(
    exclude_inbound_ports=((EXCLUDED_IN, EXCLUDED_IN), (9100, 9110)),
    exclude_outbound_ports=((1, 79), (9999, 9999)),
    exclude_outbound_networks=("64.0.0.0/24", "128.0.0.0/1", "2001:db8::/32"),
)

_EVERYWHERE = {
    "a setting": ("echo 0 > /proc/sys/net/ipv4/tcp_fwmark_accept", "setting net/ipv4/tcp_fwmark_accept"),
    "the v6 setting": ("echo 0 > /proc/sys/net/ipv6/fwmark_reflect", "setting net/ipv6/fwmark_reflect"),
    "the routing rule": ("ip rule del pref 133", "routing IPv4"),
    "the v6 routing rule": ("ip -6 rule del pref 133", "routing IPv6"),
    "the route": ("ip route flush table 133", "routing IPv4"),
    "the v6 route": ("ip -6 route flush table 133", "routing IPv6"),
}
_NFT = {
    "everything": ("nft flush ruleset", "table weft"),
    "the table": ("nft delete table inet weft", "table weft"),
    "the table's sleep": ("nft add table inet weft '{ flags dormant; }'", "table weft"),
    "all rules": ("nft flush table inet weft", "chain WEFT_PRE"),
    "one chain": ("nft flush chain inet weft WEFT_OUT", "chain WEFT_OUT"),
    "a rule too many at the top": ("nft insert rule inet weft WEFT_OUT accept", "chain WEFT_OUT"),
    "a rule too many at the end": ("nft add rule inet weft WEFT_PRE tcp dport 1 drop", "chain WEFT_PRE"),
    "a chain too many": ("nft add chain inet weft extra", "hook extra"),
    "another hook": (
        "nft delete chain inet weft WEFT_PRE; "
        "nft add chain inet weft WEFT_PRE '{ type filter hook prerouting priority 300; }'",
        "hook WEFT_PRE",
    ),
    "another policy": ("nft add chain inet weft WEFT_OUT '{ policy drop; }'", "hook WEFT_OUT"),
    "an element less": ("nft delete element inet weft in_ports '{ 9090 }'", "elements in_ports"),
    "an element more": ("nft add element inet weft out_net4 '{ 65.0.0.0/24 }'", "elements out_net4"),
    "a set too many": ("nft add set inet weft extra '{ type inet_service; }'", "set extra"),
}
_LAST = "nft -a list chain inet weft WEFT_PRE | grep -o 'handle [0-9]*$' | tail -1"
_NFT["one rule"] = (f"nft delete rule inet weft WEFT_PRE $({_LAST})", "chain WEFT_PRE")


def _iptables(flavour: str) -> dict[str, tuple[str, str]]:
    """What can be done to the rules of one flavour."""
    v4, v6 = f"iptables-{flavour} -t mangle", f"ip6tables-{flavour} -t mangle"
    return {
        "all rules": (f"{v4} -F", "chain ip WEFT_PRE"),
        "all v6 rules": (f"{v6} -F; {v6} -X", "chain ip6 WEFT_PRE"),
        "one rule": (f"{v4} -D WEFT_OUT 1", "chain ip WEFT_OUT"),
        "another rule": (f"{v6} -R WEFT_OUT 1 -j ACCEPT", "chain ip6 WEFT_OUT"),
        "a rule too many": (f"{v4} -A WEFT_IN -j DROP", "chain ip WEFT_IN"),
        "a jump": (f"{v4} -D PREROUTING -j WEFT_PRE", "jump ip PREROUTING"),
        "a jump too many": (f"{v6} -A OUTPUT -j WEFT_OUT", "jump ip6 OUTPUT"),
        "a foreign rule before the jump": (f"{v4} -I OUTPUT -p tcp -j ACCEPT", "jump ip OUTPUT"),
        "an element less": ("ipset del weft_in_ports 9090", "elements weft_in_ports"),
        "an element more": ("ipset add weft_out_net6 2001:db9::/32", "elements weft_out_net6"),
        "another set in its place": (
            "ipset create other hash:net; ipset add other 128.0.0.0/2; ipset swap other weft_out_net4",
            "elements weft_out_net4",
        ),
        "a set too many": ("ipset create weft_extra bitmap:port range 0-65535", "set weft_extra"),
    }


_BY_BACKEND: dict[BackendName, dict[str, tuple[str, str]]] = {
    "nft": _EVERYWHERE | _NFT,
    "iptables-nft": _EVERYWHERE | _iptables("nft") | {"everything": ("nft flush ruleset", "chain ip WEFT_PRE")},
    "iptables-legacy": _EVERYWHERE | _iptables("legacy"),
}


def test_every_change_is_found_named_and_healed(own: CaptureWorld) -> None:
    """One world for all cases: each begins and ends with the plan in force."""
    backend = own.backends["a"]
    wanted = own.capture(own.a, WIDE)
    own.capture(own.b, Capture())
    own.start_agent()
    for what, (command, found) in _BY_BACKEND[own.backend_name].items():
        assert backend.verify(wanted) == [], what
        own.a.shell(command)
        drifts = [str(drift) for drift in backend.verify(wanted)]
        assert any(drift.startswith(found) for drift in drifts), f"{what}: {drifts}"
        assert [str(drift) for drift in backend.repair(wanted)] == drifts, what
        assert backend.repair(wanted) == [], what
        assert call(own.a, VIP_B[4], 80).echoed == 1000, what
        assert call(own.a, VIP_B[6], 80).echoed == 1000, what


def test_a_difference_in_a_chain_names_the_rule(own: CaptureWorld) -> None:
    wanted = own.capture(own.a)
    match own.backend_name:
        case "nft":
            own.a.shell(
                "nft insert rule inet weft WEFT_OUT position 0 accept || nft insert rule inet weft WEFT_OUT accept"
            )
        case "iptables-nft":
            own.a.shell("iptables-nft -t mangle -I WEFT_OUT -j ACCEPT")
        case "iptables-legacy":
            own.a.shell("iptables-legacy -t mangle -I WEFT_OUT -j ACCEPT")
    (drift,) = own.backends["a"].verify(wanted)
    assert "the first difference at rule 1, which should be" in drift.detail
    assert "0x539" in drift.detail


def test_what_cannot_be_healed_is_said(own: CaptureWorld) -> None:
    wanted = own.capture(own.a)
    own.a.shell("ip rule add pref 50 from all lookup main")
    assert [drift.thing for drift in own.backends["a"].verify(wanted)] == ["routing", "routing"]
    with pytest.raises(UnrepairedError, match="would not come back"):
        own.backends["a"].repair(wanted)
    own.a.shell("ip rule del pref 50")
    assert own.backends["a"].verify(wanted) == []


def test_applying_twice_changes_nothing(own: CaptureWorld) -> None:
    backend, wanted = own.backends["b"], plan(WIDE)
    assert backend.apply(wanted).changed
    with pytest.raises(TimeoutError):
        dial(own.node, own.b.address(4), PORT, timeout_s=SHORT_S)
    before, counters = dump(own.b), backend.counters(wanted)
    assert counters["in", "dropped"].packets > 0
    assert not backend.apply(wanted).changed
    assert backend.repair(wanted) == []
    assert not open_backend(own.backend_name, own.b.namespace).apply(wanted).changed, "another process finds it right"
    assert dump(own.b) == before
    assert backend.counters(wanted)["in", "dropped"] == counters["in", "dropped"]


@pytest.mark.parametrize("capture", [Capture(), USUAL, WIDE], ids=["plain", "usual", "wide"])
def test_removal_leaves_nothing(own: CaptureWorld, capture: Capture) -> None:
    own.b.shell("iptables-legacy-save -t mangle; ip6tables-legacy-save -t mangle")  # makes the empty legacy tables
    own.b.shell("echo 1 > /proc/sys/net/ipv4/fwmark_reflect")  # somebody's setting, to be left as it was
    before = dump(own.b)
    with dial(own.node, own.b.address(4), PORT), dial(own.node, own.b.address(6), PORT):
        keep = sorted(own.backends["b"].connections_to_keep())
        own.capture(own.b, capture, keep=keep)
        assert dump(own.b) != before
        assert own.b.shell("cat /proc/sys/net/ipv4/tcp_fwmark_accept").strip() == "1"
        own.backends["b"].remove()
        assert dump(own.b) == before
        own.backends["b"].remove()
        assert dump(own.b) == before
        own.capture(own.b, capture, keep=keep)
        open_backend(
            "nft", own.b.namespace
        ).remove()  # by a process that did not put it there, told of another back end
        assert dump(own.b) == before
    assert call(own.node, own.b.address(6), PORT).echoed == 1000


def test_removal_leaves_foreign_rules_alone(own: CaptureWorld) -> None:
    tool = "iptables-legacy" if own.backend_name == "iptables-legacy" else "iptables-nft"
    own.b.shell(f"{tool} -t mangle -A PREROUTING -p icmp -j ACCEPT; {tool} -A INPUT -p icmp -j ACCEPT")
    own.b.shell("ipset create theirs hash:ip; ip rule add pref 77 fwmark 0x77 lookup 77")
    before = dump(own.b)
    own.capture(own.b, WIDE)
    own.backends["b"].remove()
    assert dump(own.b) == before


def test_the_first_capture_is_whole_or_not_at_all(own: CaptureWorld) -> None:
    """The kernel refuses midway: whatever was done before is taken back."""
    own.b.shell("iptables-legacy-save -t mangle; ip6tables-legacy-save -t mangle")
    before = dump(own.b)
    own.b.shell("ip link set lo down")
    with pytest.raises(KernelRefusedError, match="routing"):
        own.capture(own.b, WIDE)
    own.b.shell("ip link set lo up")
    assert dump(own.b) == before
    own.capture(own.b, WIDE)


def test_foreign_rules_of_the_other_flavour_are_not_mixed_with(own: CaptureWorld) -> None:
    other = {"iptables-nft": "iptables-legacy", "iptables-legacy": "iptables-nft"}.get(own.backend_name, "iptables-nft")
    own.b.shell(f"{other} -A INPUT -p icmp -j ACCEPT")
    if own.backend_name == "nft":
        own.capture(own.b)
        return
    with pytest.raises(CaptureRefusedError, match=f"capture with {other} or nft"):
        own.capture(own.b)
    assert "WEFT" not in dump(own.b)
    own.b.shell(f"{other} -D INPUT -p icmp -j ACCEPT")
    own.capture(own.b)


def test_settings_that_cannot_be_made(own: CaptureWorld, tmp_path: Path) -> None:
    """Without exclusions they are not needed; with outbound ones the capture is refused; another root may help."""
    blind = open_backend(own.backend_name, own.b.namespace, (tmp_path,))
    before = dump(own.b)
    with pytest.raises(CaptureRefusedError, match=r"tcp_fwmark_accept.*mount the host's /proc"):
        blind.apply(plan(USUAL))
    assert dump(own.b) == before
    plain = plan(Capture(exclude_inbound_ports=((1, 2),)))
    applied = blind.apply(plain)
    assert {item.path for item in applied.unset} == {item.path for item in plain.sysctls}
    assert blind.verify(plain) == []
    seeing = open_backend(own.backend_name, own.b.namespace, (tmp_path, Path("/proc")))
    assert {drift.thing for drift in seeing.verify(plain)} == {"setting"}
    seeing.apply(plan(USUAL))
    assert own.b.shell("cat /proc/sys/net/ipv4/tcp_fwmark_accept").strip() == "1"


def test_captures_leak_neither_descriptors_nor_threads(own: CaptureWorld) -> None:
    wanted = own.capture(own.b, WIDE)
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(8):
        own.backends["b"].remove()
        own.backends["b"].apply(wanted)
        own.backends["b"].verify(wanted)
        own.backends["b"].counters(wanted)
        own.backends["b"].connections_to_keep()
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before


def test_a_check_is_cheap_enough_for_every_second(own: CaptureWorld) -> None:
    wanted = own.capture(own.b, WIDE)
    took = []
    for _ in range(30):
        start = time.perf_counter()
        assert own.backends["b"].verify(wanted) == []
        took.append(time.perf_counter() - start)
    assert sorted(took)[len(took) // 2] < 0.010


def dump(place: Place) -> str:
    """Return everything a capture touches, without counters."""
    text = place.shell(
        "nft -s list ruleset; iptables-legacy-save -t mangle; ip6tables-legacy-save -t mangle; "
        "ipset save; ip rule; ip -6 rule; ip route show table all; ip -6 route show table all; "
        "for f in ipv4/tcp_fwmark_accept ipv4/fwmark_reflect ipv6/fwmark_reflect; do cat /proc/sys/net/$f; done; "
        "ls /proc/sys/net/ipv4 | wc -l",
        check=False,
    )
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return "\n".join(line.partition(" initval")[0].partition(" [")[0] for line in lines)
