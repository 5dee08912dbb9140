"""Kinds that come while kopf runs: looked for until kopf watches them.

Theory: kopf looks through the API server's discovery when it starts, and again at each event of a CustomResourceDefinition.
Both can be too early, and then nothing makes it look once more: the definition says `Established`, its last event, before
discovery lists the kind (a group's first kind needs an APIService first); and a definition that comes between kopf's first
look and its first list of definitions is an old one for it. Measured on a real API server: two of ten installations were missed.
So as long as a watched kind is not there, it is looked for again and again. Only a look that finds one changes anything: an
API server that lists too little for a moment, as at its start, takes nothing away.

This reaches into kopf (hence the bound on its version in pyproject.toml): it has no other way to be told.

Source: kopf 1.45 `_core/reactor/observation.py` (`process_discovered_resource_event`).
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Final

import kopf
import structlog
from kopf._cogs.clients.scanning import scan_resources
from kopf._cogs.structs.references import Insights
from kopf._core.reactor.observation import revise_resources

from weft_operator.controllers.resources import WATCHED, Watched

LOOK_TIMEOUT_S: Final = 5.0
"""kopf repeats a request that fails for minutes; the next look comes sooner."""

_log: Final = structlog.get_logger("weft_operator.controllers")
_kopf_log: Final = logging.getLogger("kopf.weft")


class LateKinds:
    """What one run of kopf does not watch yet.

    Args:
        registry: the handlers of that run.
        settings: of that run.
        watched: the kinds that it should watch.
    """

    def __init__(
        self,
        registry: kopf.OperatorRegistry,
        settings: kopf.OperatorSettings,
        watched: Iterable[Watched] = tuple(WATCHED.values()),
    ) -> None:
        self._registry, self._settings = registry, settings
        self._wanted = {(each.group, each.plural): each.kind for each in watched}
        self.insights = Insights()
        """What kopf knows of the cluster; it has to be given this very object."""

    @property
    def missing(self) -> Mapping[tuple[str, str], str]:
        """Kinds that kopf does not watch, by group and plural."""
        there = _places(self.insights.watched_resources)
        return {place: kind for place, kind in self._wanted.items() if place not in there}

    async def look(self) -> None:
        """Look for what is missing, and let kopf watch what came. To be called from a handler: kopf's login is there alone."""
        if not self.missing:
            return
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                await self._look({group for group, _ in self.missing})
        except Exception as exc:
            _log.warning("kinds that are not installed could not be looked for", error=repr(exc))

    async def _look(self, groups: set[str]) -> None:
        found = await scan_resources(groups=groups, settings=self._settings, logger=_kopf_log)
        async with self.insights.revised:
            before = self.missing
            for group in {group for group, _ in before.keys() & _places(found)}:
                resources = [each for each in found if each.group == group]
                revise_resources(resources=resources, insights=self.insights, registry=self._registry, group=group)
            came = before.keys() - self.missing.keys()
            if came:
                self.insights.revised.notify_all()
                _log.info("kinds came that were not installed", kinds=sorted(before[place] for place in came))


def _places(resources: Iterable[kopf.Resource]) -> set[tuple[str, str]]:
    return {(each.group, each.plural) for each in resources}
