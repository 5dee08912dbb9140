"""The authority in its Secret: made once, read by all, changed by one, never lost to what cannot be read."""

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from weft_operator.access import UnreachableError
from weft_operator.ca import CaError, create_intermediate, create_root
from weft_operator.ca.kept import ROTATE, KeptAuthority
from weft_operator.ca.pem import key_pem
from weft_operator.ca.rotation import MIN_DISTRIBUTION_S, OVERLAP_S
from weft_operator.controllers.store import Body
from weft_testing.memory_api import MemoryApi

pytestmark = pytest.mark.asyncio

PLACE = ("weft-system", "weft-ca")
PATH = "/api/v1/namespaces/weft-system/secrets/weft-ca"
ISSUER_PATH = "/api/v1/namespaces/weft-system/secrets/issuer"


class World:
    def __init__(self) -> None:
        self.api = MemoryApi()
        self.now = 1_800_000_000.0
        self.lacking: tuple[str, ...] | None = ()
        self.asked: list[Sequence[str]] = []
        self.told: list[tuple[str, str, bool]] = []
        self.changes = 0

    def replica(self, *, issuer: bool = False) -> KeptAuthority:
        return KeptAuthority(
            self.api,
            PLACE,
            issuer=("weft-system", "issuer") if issuer else None,
            changed=self._changed,
            told=lambda reason, text, alarm: self.told.append((reason, text, alarm)),
            wall=lambda: self.now,
        )

    def _changed(self) -> None:
        self.changes += 1

    def missing(self, trust_domain: str, roots: Sequence[str]) -> tuple[str, ...] | None:
        self.asked.append(roots)
        return self.lacking

    async def step(self, replica: KeptAuthority, domain: str = "mesh.test") -> str | None:
        await replica.refresh()
        step = await replica.step(domain, self.missing)
        return step.does if step is not None else None

    def annotate(self, value: str) -> None:
        self.api.objects[PATH]["metadata"]["annotations"] = {ROTATE: value}
        self.api.put(PATH, self.api.objects[PATH])


@pytest.fixture
def world() -> World:
    return World()


def secret(data: Mapping[str, bytes]) -> Body:
    return {"metadata": {"name": "issuer"}, "data": {key: b64encode(value).decode() for key, value in data.items()}}


async def test_whichever_replica_is_first_makes_it_and_all_have_the_same(world: World) -> None:
    one, two = world.replica(), world.replica()
    await one.load("mesh.test")
    await two.load("mesh.test")
    assert one.bundles == two.bundles
    assert world.api.writes == [PATH]
    assert one.authority is not None
    assert one.authority.trust_domain == "mesh.test"
    roots = b64decode(world.api.objects[PATH]["data"]["roots.pem"]).decode()
    assert [roots] == list(one.roots)


async def test_two_that_find_nothing_at_the_same_moment_agree(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = world.replica(), world.replica()

    async def blind(path: str) -> Body | None:
        monkeypatch.undo()
        await one.load("mesh.test")
        return None

    monkeypatch.setattr(world.api, "get", blind)
    await two.load("mesh.test")
    assert one.bundles == two.bundles


async def test_what_is_there_and_cannot_be_used_is_not_overwritten(world: World) -> None:
    world.api.put(PATH, {"metadata": {"name": "weft-ca"}, "data": {"something": "else"}})
    with pytest.raises(CaError, match=r"Secret weft-system/weft-ca ca\.json is not an authority"):
        await world.replica().load("mesh.test")
    assert world.api.writes == []


async def test_a_damaged_or_deleted_secret_changes_nothing_and_is_an_alarm(world: World) -> None:
    replica = world.replica()
    await replica.load("mesh.test")
    before = replica.state
    world.api.put(PATH, {"metadata": {"name": "weft-ca"}, "data": {"ca.json": "!!"}})
    assert await world.step(replica) is None
    assert [alarm.name for alarm in replica.alarms] == ["SecretUnreadable"]
    assert "not base64" in replica.alarms[0].text
    del world.api.objects[PATH]
    assert await world.step(replica) is None
    assert "is gone" in replica.alarms[0].text
    assert replica.state == before
    assert world.api.writes == [PATH], "nothing was written over it"
    assert [reason for reason, _, alarm in world.told if alarm] == ["SecretUnreadable"], "told once"


async def test_an_api_server_that_is_away_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    replica = world.replica()
    await replica.load("mesh.test")

    async def away(path: str) -> Body | None:
        raise UnreachableError("GET: connection refused")

    monkeypatch.setattr(world.api, "get", away)
    assert await world.step(replica) is None
    assert replica.authority is not None


async def test_a_root_is_replaced_and_any_replica_may_go_on(world: World) -> None:
    one, two = world.replica(), world.replica()
    await one.load("mesh.test")
    await two.load("mesh.test")
    (old,) = one.roots
    world.annotate("root")
    assert await world.step(one) == "add root"
    assert ROTATE not in world.api.objects[PATH]["metadata"]["annotations"], "the wish is granted"
    world.lacking = ("n2",)
    world.now += MIN_DISTRIBUTION_S
    assert await world.step(two) is None
    assert set(world.asked[-1]) == set(one.roots), "it waits for both roots to be in force"
    assert len(one.roots) == 2
    world.lacking = ()
    assert await world.step(two) == "move"
    await one.refresh()
    assert one.state == two.state
    assert one.state.signer.root != one.state.roots[0].name
    world.now += OVERLAP_S
    assert await world.step(one) == "retire"
    await two.refresh()
    assert old not in two.roots
    assert [reason for reason, _, alarm in world.told if not alarm] == ["AuthorityChanged"] * 3


async def test_of_two_leaders_one_takes_the_step(world: World) -> None:
    one, two = world.replica(), world.replica()
    await one.load("mesh.test")
    await two.load("mesh.test")
    world.annotate("root")
    await one.refresh()
    await two.refresh()
    steps = [await one.step("mesh.test", world.missing), await two.step("mesh.test", world.missing)]
    assert [step is not None for step in steps] == [True, False]
    await two.refresh()
    assert one.state == two.state


async def test_changes_are_announced_once(world: World) -> None:
    replica = world.replica()
    await replica.load("mesh.test")
    assert world.changes == 1
    await replica.refresh()
    assert world.changes == 1
    assert await world.step(replica, "other.test") == "change domain"
    assert world.changes == 2
    assert set(replica.bundles) == {"mesh.test", "other.test"}
    assert len(replica.roots) == 2
    assert replica.authority is not None
    assert replica.authority.trust_domain == "other.test"


async def test_a_domain_that_cannot_be_one_is_told_and_the_old_one_stays(world: World) -> None:
    replica = world.replica()
    await replica.load("mesh.test")
    assert await world.step(replica, ".dot") is None
    assert world.told[-1][0] == "RotationFailed"
    assert replica.state.trust_domain == "mesh.test"


async def test_a_server_s_certificate_leads_to_the_roots(world: World) -> None:
    replica = world.replica()
    await replica.load("mesh.test")
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    issued = replica.issue_server(key, ["weft-operator"], world.now)
    _, intermediate = x509.load_pem_x509_certificates(issued.chain_pem)
    intermediate.verify_directly_issued_by(x509.load_pem_x509_certificate(replica.roots[0].encode()))
    assert {name for name, _ in replica.ends} == {"root", "intermediate"}


async def test_an_issuer_s_secret_is_followed(world: World) -> None:
    root = create_root("mesh.test", now_unix_s=world.now)

    def issue() -> None:
        signer = create_intermediate(root, "mesh.test", now_unix_s=world.now)
        data = {"tls.crt": signer.chain_pem, "tls.key": key_pem(signer.key), "ca.crt": root.certificate_pem}
        world.api.put(ISSUER_PATH, secret(data))

    replica = world.replica(issuer=True)
    with pytest.raises(CaError, match="Secret weft-system/issuer is not there"):
        await replica.load("mesh.test")
    assert world.api.writes == []
    issue()
    await replica.load("mesh.test")
    assert list(replica.roots) == [root.certificate_pem.decode()]
    assert await world.step(replica) is None
    issue()
    assert await world.step(replica) == "adopt"
    world.api.put(ISSUER_PATH, secret({"tls.crt": b"x"}))
    assert await world.step(replica) is None
    assert [alarm.name for alarm in replica.alarms] == ["IssuerUnreadable"]
    state = msgspec.json.decode(b64decode(world.api.objects[PATH]["data"]["ca.json"]))
    assert state["roots"][0]["key"] == ""
