"""The caBundle of our webhook configurations: what the API server verifies our webhooks' certificate with.

The configurations are installed by the chart without a bundle, because only the running mesh knows its roots. The leader
writes all roots of the trust bundle into them, so that during a rotation certificates of either root are accepted, and looks
again from time to time, because an upgrade of the chart writes them anew. Only webhooks of ours are touched.
"""

import copy
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from weft_contract.labels import GROUP
from weft_operator.controllers.store import ConflictError, Store

ADMISSION: Final = "/apis/admissionregistration.k8s.io/v1"
KINDS: Final = ("validatingwebhookconfigurations", "mutatingwebhookconfigurations")
MAX_CONFLICTS: Final = 5
_log: Final = structlog.get_logger("weft_operator.controllers")


@dataclass(frozen=True, slots=True)
class Bundles:
    """Keeps the bundles right.

    Args:
        store: the API server.
        name: of both configurations.
    """

    store: Store
    name: str

    async def write(self, roots: Sequence[str]) -> int:
        """Write roots where they are not written yet.

        Args:
            roots: certificates in PEM; without any nothing is written.

        Returns:
            How many configurations were changed; one that is not installed is not missed.
        """
        if not roots:
            return 0
        bundle = b64encode("".join(f"{root.strip()}\n" for root in roots).encode()).decode()
        return sum([await self._write(f"{ADMISSION}/{kind}/{self.name}", bundle) for kind in KINDS])

    async def _write(self, path: str, bundle: str) -> bool:
        for _ in range(MAX_CONFLICTS):
            item = await self.store.get(path)
            changed = None if item is None else with_bundle(item, bundle)
            if changed is None:
                return False
            try:
                await self.store.replace(path, changed)
            except ConflictError:
                continue
            _log.info("caBundle written", configuration=path.rpartition("/")[2], kind=path.split("/")[-2])
            return True
        raise ConflictError(f"{path} was written by somebody else {MAX_CONFLICTS} times in a row")


def with_bundle(item: dict[str, Any], bundle: str) -> dict[str, Any] | None:
    """Return a configuration whose webhooks of ours have a bundle; None: they have it already."""
    changed = copy.deepcopy(item)
    for webhook in changed.get("webhooks") or ():
        if str(webhook.get("name", "")).endswith(f".{GROUP}"):
            webhook.setdefault("clientConfig", {})["caBundle"] = bundle
    return None if changed == item else changed
