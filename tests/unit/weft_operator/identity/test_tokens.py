"""Agents by their tokens: exactly the agents' account, node and pod named by the token, the pod really there."""

import asyncio

import pytest

from weft_operator.distribution import Caller, RefusedError
from weft_operator.identity import PodIndex, TokenGatekeeper
from weft_operator.identity.tokens import ACCEPTED_S, MAX_ANSWERS, REFUSED_S, token_end
from weft_testing import objects as o
from weft_testing.live import held
from weft_testing.token_reviews import AGENTS, Reviewer, token, user

pytestmark = pytest.mark.asyncio


class World:
    def __init__(self) -> None:
        self.now = 1000.0
        self.reviewer = Reviewer()
        self.pods = PodIndex()
        agent = held(o.pod("agent-1", "172.16.0.1", namespace="weft-system", node="n1", account="weft-agent"))
        self.pods.apply({agent.key: agent})
        self.token = token("one", 1500.0)
        self.reviewer.users[self.token] = user("agent-1", "n1")
        namespace, account = AGENTS
        self.gatekeeper = TokenGatekeeper(
            self.reviewer,
            self.pods,
            namespace=namespace,
            service_account=account,
            clock=lambda: self.now,
            wall=lambda: self.now,
        )

    async def refusal(self, presented: str | None = None) -> tuple[int, str]:
        with pytest.raises(RefusedError) as caught:
            await self.gatekeeper.admit(presented if presented is not None else self.token)
        return caught.value.status, caught.value.detail


@pytest.fixture
def world() -> World:
    return World()


async def test_an_agent_is_known_by_its_token(world: World) -> None:
    caller = await world.gatekeeper.admit(world.token)
    assert caller == Caller(
        node="n1", pod="weft-system/agent-1", pod_uid="uid-weft-system-agent-1", expires_unix_s=1500.0
    )


async def test_an_answer_is_kept_for_a_minute(world: World) -> None:
    for _ in range(3):
        await world.gatekeeper.admit(world.token)
    assert len(world.reviewer.reviews) == 1
    world.now += ACCEPTED_S - 1
    await world.gatekeeper.admit(world.token)
    assert len(world.reviewer.reviews) == 1
    del world.reviewer.users[world.token]
    world.now += 1
    status, detail = await world.refusal()
    assert (status, "invalid bearer token" in detail) == (401, True)


async def test_a_refusal_is_kept_for_a_few_seconds(world: World) -> None:
    late = token("late")
    assert (await world.refusal(late))[0] == 401
    world.reviewer.users[late] = user("agent-1", "n1")
    assert (await world.refusal(late))[0] == 401
    assert len(world.reviewer.reviews) == 1
    world.now += REFUSED_S
    assert (await world.gatekeeper.admit(late)).node == "n1"


async def test_many_requests_with_one_token_are_one_question(world: World) -> None:
    callers = await asyncio.gather(*(world.gatekeeper.admit(world.token) for _ in range(50)))
    assert {caller.node for caller in callers} == {"n1"}
    assert len(world.reviewer.reviews) == 1


async def test_one_that_goes_away_does_not_take_the_answer_from_the_others(world: World) -> None:
    first = asyncio.create_task(world.gatekeeper.admit(world.token))
    second = asyncio.create_task(world.gatekeeper.admit(world.token))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).node == "n1"


async def test_a_token_of_another_account_is_refused(world: World) -> None:
    world.reviewer.users[world.token] = user("agent-1", "n1", account="default")
    status, detail = await world.refusal()
    assert status == 403
    assert "only system:serviceaccount:weft-system:weft-agent is served" in detail


@pytest.mark.parametrize("missing", ["node-name", "pod-name", "pod-uid"])
@pytest.mark.parametrize("instead", [None, [], ["n1", "n2"], "n1"])
async def test_a_token_that_does_not_name_one_node_and_pod_is_refused(
    world: World, missing: str, instead: object
) -> None:
    found = user("agent-1", "n1")
    found["extra"][f"authentication.kubernetes.io/{missing}"] = instead
    world.reviewer.users[world.token] = found
    status, detail = await world.refusal()
    assert (status, "use a projected token" in detail) == (403, True)


async def test_a_token_for_another_audience_is_refused(world: World) -> None:
    world.reviewer.audiences = ["https://kubernetes.default.svc"]
    assert (await world.refusal())[0] == 401


async def test_an_api_server_that_knows_no_audiences_does_not_vouch_for_ours(world: World) -> None:
    world.reviewer.audiences = []
    assert (await world.refusal())[0] == 401


async def test_a_deleted_pod_s_token_is_refused_although_the_api_server_accepts_it(world: World) -> None:
    caller = await world.gatekeeper.admit(world.token)
    assert world.gatekeeper.still_there(caller)
    world.pods.apply({("Pod", "weft-system/agent-1"): None})
    assert not world.gatekeeper.still_there(caller)
    status, detail = await world.refusal()
    assert status == 403
    assert "pod weft-system/agent-1" in detail


async def test_a_pod_of_the_same_name_made_again_is_another(world: World) -> None:
    world.reviewer.users[world.token] = user("agent-1", "n1", uid="an-older-one")
    assert (await world.refusal())[0] == 403


async def test_a_pod_on_another_node_than_its_token_says_is_refused(world: World) -> None:
    world.reviewer.users[world.token] = user("agent-1", "n2")
    assert (await world.refusal())[0] == 403


async def test_a_token_ends_although_the_answer_is_kept(world: World) -> None:
    world.now = 1499.0
    await world.gatekeeper.admit(world.token)
    world.now = 1500.0
    status, detail = await world.refusal()
    assert (status, "read the projected token anew" in detail) == (401, True)


async def test_an_api_server_that_is_away_is_no_refusal_of_the_token(world: World) -> None:
    world.reviewer.away = True
    status, detail = await world.refusal()
    assert (status, "come again" in detail) == (503, True)
    world.reviewer.away = False
    assert (await world.gatekeeper.admit(world.token)).node == "n1"


async def test_a_token_that_is_too_long_is_not_asked_about(world: World) -> None:
    assert (await world.refusal("x" * 20_000))[0] == 401
    assert not world.reviewer.reviews


async def test_answers_are_bounded(world: World) -> None:
    for number in range(MAX_ANSWERS + 10):
        await world.refusal(f"t{number}")
    assert len(world.gatekeeper._answers) == MAX_ANSWERS
    assert not world.gatekeeper._asking


@pytest.mark.parametrize("text", ["", "a.b", "a.!!.c", "a.e30.c", "a.W10.c", "a.eyJleHAiOiJ4In0.c", "a.é.c"])
async def test_a_token_without_a_readable_end(text: str) -> None:
    assert token_end(text) is None


async def test_the_end_of_a_token() -> None:
    assert token_end(token("x", 1234.0)) == 1234.0
