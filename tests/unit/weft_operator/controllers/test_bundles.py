"""The caBundle: both roots in both configurations, our webhooks only, written when it differs."""

from base64 import b64decode

import pytest

from weft_operator.controllers.bundles import ADMISSION, KINDS, MAX_CONFLICTS, Bundles
from weft_operator.controllers.store import Body, ConflictError
from weft_testing.memory_api import MemoryApi

pytestmark = pytest.mark.asyncio
PATHS = [f"{ADMISSION}/{kind}/weft" for kind in KINDS]
ROOTS = ["-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----", "-----BEGIN CERTIFICATE-----\nB\n-----END…\n"]


def configuration(*names: str) -> Body:
    webhooks = [{"name": name, "clientConfig": {"service": {"name": "weft-operator"}}} for name in names]
    return {"metadata": {"name": "weft"}, "webhooks": webhooks}


def bundles(api: MemoryApi, path: str) -> list[str]:
    found = [webhook["clientConfig"].get("caBundle", "") for webhook in api.objects[path]["webhooks"]]
    return [b64decode(text).decode() for text in found]


async def test_all_roots_are_written_to_all_webhooks_of_ours() -> None:
    api = MemoryApi()
    api.put(PATHS[0], configuration("validate.weft.dev", "of.somebody.else"))
    api.put(PATHS[1], configuration("namespaces.mutate.weft.dev", "pods.mutate.weft.dev"))
    assert await Bundles(api, "weft").write(ROOTS) == 2
    both = f"{ROOTS[0]}\n{ROOTS[1]}"
    assert bundles(api, PATHS[0]) == [both, ""]
    assert bundles(api, PATHS[1]) == [both, both]
    assert api.objects[PATHS[0]]["webhooks"][0]["clientConfig"]["service"] == {"name": "weft-operator"}


async def test_what_is_right_is_not_written_and_what_an_upgrade_took_away_is() -> None:
    api = MemoryApi()
    api.put(PATHS[0], configuration("validate.weft.dev"))
    assert await Bundles(api, "weft").write(ROOTS) == 1
    assert await Bundles(api, "weft").write(ROOTS) == 0
    api.put(PATHS[0], configuration("validate.weft.dev"))
    assert await Bundles(api, "weft").write(ROOTS) == 1
    assert await Bundles(api, "weft").write(ROOTS[1:]) == 1


async def test_without_configurations_or_without_roots_nothing_is_written() -> None:
    api = MemoryApi()
    assert await Bundles(api, "weft").write(ROOTS) == 0
    api.put(PATHS[0], configuration("validate.weft.dev"))
    assert await Bundles(api, "weft").write([]) == 0
    assert api.writes == []


async def test_a_conflict_is_taken_up_again() -> None:
    api, rivals = MemoryApi(), iter([1, 2])
    api.put(PATHS[0], configuration("validate.weft.dev"))

    def rival(path: str) -> None:
        if next(rivals, None):
            api.put(PATHS[0], configuration("validate.weft.dev", "new.weft.dev"))

    api.before_replace = rival
    assert await Bundles(api, "weft").write(ROOTS) == 1
    assert bundles(api, PATHS[0]) == [f"{ROOTS[0]}\n{ROOTS[1]}"] * 2

    def always(path: str) -> None:
        api.put(PATHS[0], configuration("validate.weft.dev"))

    api.before_replace = always
    with pytest.raises(ConflictError, match=f"{MAX_CONFLICTS} times"):
        await Bundles(api, "weft").write(ROOTS[:1])
