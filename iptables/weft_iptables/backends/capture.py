"""The capture of one namespace: applied, compared, repaired, taken away, whatever way the rules are written.

Theory. Order keeps every moment safe. Settings and routing come before rules, because a mark without its route would let a
packet out uncaptured; rules go before routing when a capture ends. `apply` compares first and does nothing where nothing
differs, so it may be called as often as one likes and counters, learned ports and connections are left alone; afterwards it
compares again, so returning means that the kernel has the plan. A first capture that fails is rolled back: a pod is
captured whole or not at all, and the caller hears of it. A repair that fails leaves what there is, which refuses rather
than lets pass.

The settings' values from before the capture are remembered in the routing rule's protocol number (`kernel.routing`), so
they can be put back by another process than the one that changed them.

All methods wait, and work in a thread of their own that has entered the namespace.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

from weft_contract.ports import BACK_MARK, OUT_MARK
from weft_iptables.backends.drift import Drift, State, compare
from weft_iptables.backends.reference import SHARED, References
from weft_iptables.backends.rules import BackendName, Count, Rules
from weft_iptables.errors import CaptureRefusedError, KernelRefusedError, UnrepairedError
from weft_iptables.kernel import diag, routing, settings
from weft_iptables.kernel.netlink import NETLINK_ROUTE, Netlink
from weft_iptables.namespaces import Namespace
from weft_iptables.plan import CapturePlan, Connection, Family, Tally, excluded, learned_ports
from weft_iptables.plan.build import ROUTING, SYSCTLS
from weft_iptables.plan.values import Routing, Sysctl

T = TypeVar("T")

PROC: Final = (Path("/proc"),)
_PROTOCOL: Final = 200
"""Routing rules of ours have this protocol number, plus one bit for each setting that was on before the capture.
Below 200 are numbers with a meaning (include/uapi/linux/rtnetlink.h)."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What `apply` did."""

    changed: bool
    """False: everything was there already."""
    unset: tuple[Sysctl, ...] = ()
    """Settings that could not be made, in a plan that does not depend on them."""


@dataclass(frozen=True, slots=True)
class Families:
    """What to plan for in a namespace."""

    captured: tuple[Family, ...]
    refused: tuple[Family, ...]
    """Families that exist but are switched off: should somebody switch them on, their TCP is dropped."""


class Backend:
    """One way of writing rules, bound to one namespace.

    Args:
        namespace: of the pod.
        make_rules: makes the way of writing rules.
        proc_roots: where proc filesystems are mounted, the preferred one first; a container's own has read-only settings,
            so give the host's as the second.
        others: other ways of writing rules; what they left in the namespace is taken out once this one is in place.
        references: shared knowledge of what plans look like.
    """

    def __init__(
        self,
        namespace: Namespace,
        make_rules: Callable[[], Rules],
        *,
        proc_roots: Sequence[Path] = PROC,
        others: Iterable[Callable[[], Rules]] = (),
        references: References = SHARED,
    ) -> None:
        self.namespace = namespace
        self._make_rules = make_rules
        self._rules = make_rules()
        self._proc_roots = tuple(proc_roots)
        self._others = tuple(others)
        self._references = references
        self._unset: tuple[Sysctl, ...] = ()
        self._before: int | None = None
        self._plan: CapturePlan | None = None

    @property
    def name(self) -> BackendName:
        """The way rules are written."""
        return self._rules.name

    @property
    def can_keep(self) -> bool:
        """Whether connections older than the capture can be kept."""
        return self._rules.can_keep

    # -- before a plan ------------------------------------------------------------------------------------------------

    def survey(self) -> Families:
        """Return the families to plan for: a family that the namespace switched off is refused, not ignored."""
        return self._run(self._survey)

    def _survey(self) -> Families:
        off = settings.read("net/ipv6/conf/lo/disable_ipv6", self._proc_roots)
        if off is None:
            return Families(captured=(4,), refused=())
        return Families(captured=(4,), refused=(6,)) if off else Families(captured=(4, 6), refused=())

    def connections_to_keep(self) -> frozenset[Connection]:
        """Return what to give `plan(keep=…)`, so that no open connection breaks.

        Of a pod that is not captured yet: all its connections. Of a captured one: those that were kept so far, and those
        that the exclusions applied by this object let pass, in case the next plan excludes less.
        """
        return self._run(self._connections_to_keep)

    def _connections_to_keep(self) -> frozenset[Connection]:
        direct = diag.direct_connections()
        if not self._rules.present():
            return direct
        passing = excluded(self._plan.sets, direct) if self._plan is not None else frozenset()
        return passing.union(filter(self._rules.kept(), direct))

    def carried(self) -> int:
        """Return how many open connections of the pod lead through the agent."""
        return len(self._run(diag.carried_connections))

    # -- the capture --------------------------------------------------------------------------------------------------

    def apply(self, plan: CapturePlan) -> Applied:
        """Make the namespace have the plan.

        Raises:
            CaptureRefusedError: settings that the plan needs cannot be made, or foreign rules forbid this way.
            ToolMissingError: a program is not installed.
            KernelRefusedError: the kernel refused; a first capture is rolled back.
            UnrepairedError: the kernel took everything and still does not do it, for something foreign is in the way;
                what was applied stays, since it refuses more than nothing would.
        """
        expected = self._expected(plan)

        def act() -> Applied:
            changed = bool(self._drifts(plan, expected))
            if changed:
                self._install(plan)
                left = self._drifts(plan, expected)
                if left:
                    raise UnrepairedError(f"{self.namespace.path}: applied, yet {'; '.join(map(str, left))}")
            self._plan = plan
            for rules in self._others_present():
                rules.uninstall()
            return Applied(changed=changed, unset=self._unset)

        return self._run(act)

    def verify(self, plan: CapturePlan) -> list[Drift]:
        """Compare the namespace with the plan; return what differs.

        Raises:
            IptablesError: this node cannot write such rules at all, or the kernel does not let us look.
        """
        expected = self._expected(plan)
        return self._run(lambda: self._drifts(plan, expected))

    def repair(self, plan: CapturePlan) -> list[Drift]:
        """Compare, and apply again where something differs; return what was healed.

        Raises:
            IptablesError: as `apply`; what could not be healed is in the message.
        """
        drifts = self.verify(plan)
        if drifts:
            self.apply(plan)
        return drifts

    def remove(self) -> None:
        """End the capture and leave nothing of ours, of any back end, behind; without a capture, do nothing.

        Raises:
            KernelRefusedError: something could not be taken out.
        """
        self._run(self._remove)

    # -- counters and kept connections --------------------------------------------------------------------------------

    def counters(self, plan: CapturePlan) -> Mapping[Tally, Count]:
        """Read what the kernel counted since the rules were last written, by direction and kind.

        Both `delivered` and `dropped` are there; a reader treats a smaller number than before as a new start.
        """
        found = dict(self._run(lambda: self._rules.tallies(plan)))
        for direction in ("in", "out"):
            offered = found.get((direction, "offered"), Count())
            if (direction, "dropped") in found:
                found[direction, "delivered"] = offered - found[direction, "dropped"]
            elif (direction, "delivered") in found:
                found[direction, "dropped"] = offered - found[direction, "delivered"]
        return found

    def prune_keep(self) -> int:
        """Forget kept connections that are gone; return how many are left.

        Call it every minute or so while it returns more than 0. A stale entry admits no new connection, for a SYN is
        captured whatever the keep sets say; but a new one with the very same four numbers would break.
        """
        return self._run(lambda: self._rules.keep_only(diag.direct_connections()))

    # -- where things run ---------------------------------------------------------------------------------------------

    def _expected(self, plan: CapturePlan) -> State:
        try:
            return self._references.state(self._make_rules, plan)
        except OSError as exc:
            raise KernelRefusedError(f"a namespace to compare with cannot be made: {exc}") from exc

    def _run(self, function: Callable[[], T]) -> T:
        try:
            return self.namespace.run(function)
        except OSError as exc:
            raise KernelRefusedError(f"{self.namespace.path}: {exc}") from exc

    # -- inside the namespace -----------------------------------------------------------------------------------------

    def _drifts(self, plan: CapturePlan, expected: State) -> list[Drift]:
        found = [
            Drift("setting", item.path, f"{value} instead of {item.value}")
            for item in plan.sysctls
            if item not in self._unset and (value := settings.read(item.path, self._proc_roots)) != item.value
        ]
        with Netlink(NETLINK_ROUTE) as netlink:
            found += _routing_drifts(netlink, plan.routing)
        return found + compare(expected, self._rules.state(plan), self._rules.lines(plan))

    def _install(self, plan: CapturePlan) -> None:
        self._rules.check()
        mine = self._rules.present()
        try:
            self._bring(plan, fresh=not mine)
        except BaseException:
            if not mine and self._others_present():
                self._rules.uninstall()
            elif not mine:
                self._remove()
            raise

    def _others_present(self) -> list[Rules]:
        return [rules for make in self._others if (rules := make()).present()]

    def _bring(self, plan: CapturePlan, *, fresh: bool) -> None:
        with Netlink(NETLINK_ROUTE) as netlink:
            self._before = self._settings_before(netlink, fresh=fresh)
            self._set(plan)
            routing.install(netlink, plan.routing, _PROTOCOL + self._before)
        direct = diag.direct_connections()
        kept = direct.intersection(plan.keep)
        if not fresh:
            kept = kept.union(filter(self._rules.kept(), direct))
        self._rules.install(replace(plan, keep=tuple(sorted(kept))), learned_ports(plan.sets, direct))
        if fresh and plan.keep:
            late = diag.direct_connections() - kept
            self._rules.keep(late - excluded(plan.sets, late))

    def _remove(self) -> None:
        for make in (self._make_rules, *self._others):
            make().uninstall()
        with Netlink(NETLINK_ROUTE) as netlink:
            remembered = routing.remembered(netlink, ROUTING)
            routing.uninstall(netlink, ROUTING)
        before = self._before if remembered is None else max(0, remembered - _PROTOCOL)
        if before is not None:
            self._put_back(before)
        self._before = None
        self._unset = ()
        self._plan = None

    # -- settings -----------------------------------------------------------------------------------------------------

    def _settings_before(self, netlink: Netlink, *, fresh: bool) -> int:
        """Return which settings were on before the capture, a bit each, from the best witness there is."""
        remembered = routing.remembered(netlink, ROUTING)
        if remembered is not None:
            return max(0, remembered - _PROTOCOL)
        if self._before is not None:
            return self._before
        if not fresh:
            return 0  # our rules are here and their witness is gone: off is what every kernel starts with
        return sum(1 << at for at, item in enumerate(SYSCTLS) if settings.read(item.path, self._proc_roots))

    def _set(self, plan: CapturePlan) -> None:
        refusals: dict[Sysctl, OSError] = {}
        for item in plan.sysctls:
            if settings.read(item.path, self._proc_roots) != item.value:
                refusal = settings.write(item.path, item.value, self._proc_roots)
                if refusal is not None:
                    refusals[item] = refusal
        if refusals and plan.needs_sysctls:
            reasons = "; ".join(f"{item.path}: {refusal}" for item, refusal in refusals.items())
            raise CaptureRefusedError(
                f"the pod excludes outbound traffic, which needs settings that cannot be made ({reasons}); "
                "mount the host's /proc into the agent or remove the exclusion"
            )
        self._unset = tuple(refusals)

    def _put_back(self, before: int) -> None:
        for at, item in enumerate(SYSCTLS):
            value = before >> at & 1
            if settings.read(item.path, self._proc_roots) not in (None, value):
                settings.write(item.path, value, self._proc_roots)


def _routing_drifts(netlink: Netlink, wanted: Routing) -> Iterator[Drift]:
    for family in wanted.families:
        for mark in (OUT_MARK, BACK_MARK):
            if not routing.loops_back(netlink, family, mark):
                detail = "packets with this mark would not come back over the loopback device"
                yield Drift("routing", f"IPv{family} mark {mark:#x}", detail)
