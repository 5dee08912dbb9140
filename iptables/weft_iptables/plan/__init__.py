"""What a capture is, as a pure value, and its text for each tool.

Belongs here: rules, sets, routes and sysctls as values (`rule`, `values`), the one function that plans them (`build`),
the renderers (`restore` for iptables and ipset, `nft`).
Does not belong here: a socket, a subprocess, a look at the kernel.
"""

from weft_iptables.plan.build import plan
from weft_iptables.plan.exclusion import excluded, learned_ports
from weft_iptables.plan.line import Line
from weft_iptables.plan.nft import nft_lines, render_nft
from weft_iptables.plan.restore import IpsetSet, ipset_sets, iptables_lines, render_iptables
from weft_iptables.plan.rule import Direction, Family, Kind, Rule, Tally
from weft_iptables.plan.values import CapturePlan, Connection

__all__ = [
    "CapturePlan",
    "Connection",
    "Direction",
    "Family",
    "IpsetSet",
    "Kind",
    "Line",
    "Rule",
    "Tally",
    "excluded",
    "ipset_sets",
    "iptables_lines",
    "learned_ports",
    "nft_lines",
    "plan",
    "render_iptables",
    "render_nft",
]
