"""What a plan looks like to this kernel: applied once in an empty namespace, read back, remembered.

Theory. A verification has to say whether the kernel has what the plan says. Comparing texts would mean to reproduce how
each version of each tool prints a rule; comparing with what was read after the last change would trust that moment, and a
restarted process has no such memory. So the plan itself is applied by the same code in a namespace that was made for it and
vanishes with its thread, and what the kernel holds there is what it has to hold in the pod. Pods with equal plans share one
reference; making one takes tens of milliseconds.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from weft_iptables.backends.drift import State
from weft_iptables.backends.rules import BackendName, Rules
from weft_iptables.namespaces import run_in_scratch
from weft_iptables.plan import CapturePlan

_REMEMBERED: Final = 256
"""Distinct plans of a node; pods have one of a handful as a rule."""


class References:
    """References by plan and way of writing rules; may be shared by threads and by every pod of a node."""

    def __init__(self) -> None:
        self._states: OrderedDict[tuple[BackendName, CapturePlan], State] = OrderedDict()
        self._lock = threading.Lock()

    def state(self, make: Callable[[], Rules], plan: CapturePlan) -> State:
        """Return what a namespace holds in which the plan, and nothing else, was applied.

        Args:
            make: makes the way of writing rules.
            plan: the capture; kept connections do not count.

        Raises:
            IptablesError: this kernel or its tools cannot do it.
        """
        rules = make()
        key = (rules.name, plan.shape)
        with self._lock:
            if key not in self._states:
                self._states[key] = run_in_scratch(lambda: _applied(rules, plan.shape))
                while len(self._states) > _REMEMBERED:
                    self._states.popitem(last=False)
            self._states.move_to_end(key)
            return self._states[key]


def _applied(rules: Rules, plan: CapturePlan) -> State:
    rules.check()
    rules.install(plan, ())
    return rules.state(plan)


SHARED: Final = References()
"""What all back ends of this process use unless told otherwise."""
