"""The handlers over real HTTP: answers, malformed requests, our own failures, time and size."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from io import BytesIO

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request
from prometheus_client import CollectorRegistry

from weft_contract import objects
from weft_contract.problems import Problem
from weft_operator.webhooks import MUTATE_PATH, VALIDATE_PATH, GateSettings, Webhooks
from weft_operator.webhooks.review import MAX_REVIEW_BYTES
from weft_testing.objects import pod, policy
from weft_testing.reviews import answer_of, patched, review

pytestmark = pytest.mark.asyncio
Client = TestClient[Request, Application]


class Broken:
    """A cluster view that fails."""

    def __init__(self) -> None:
        self.broken = False

    def warnings(self, item: objects.Object) -> Sequence[Problem]:
        if self.broken:
            raise ZeroDivisionError
        return ()

    def labels(self, namespace: str) -> dict[str, str]:
        if self.broken:
            raise ZeroDivisionError
        return {"weft.dev/mesh": "enabled"} if namespace == "shop" else {}


@pytest.fixture
def around() -> Broken:
    return Broken()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest_asyncio.fixture
async def client(around: Broken, registry: CollectorRegistry) -> AsyncIterator[Client]:
    webhooks = Webhooks(
        gate=GateSettings(image="gate"), namespace_labels=around.labels, surroundings=around, registry=registry
    )
    async with TestClient(TestServer(webhooks.application())) as made:
        yield made


async def test_a_pod_gets_its_gate(client: Client) -> None:
    answer = await client.post(MUTATE_PATH, data=review(pod("web")))
    assert answer.status == 200
    assert answer.content_type == "application/json"
    response = answer_of(await answer.read())
    spec = patched(pod("web"), response["patch"])["spec"]
    assert isinstance(spec, dict)
    assert spec["initContainers"][0]["image"] == "gate"


async def test_a_wrong_object_is_refused(client: Client, registry: CollectorRegistry) -> None:
    wrong = policy("AuthorizationPolicy", "web", {"rulez": []})
    response = answer_of(await (await client.post(VALIDATE_PATH, data=review(wrong))).read())
    assert response["allowed"] is False
    assert "did you mean 'rules'?" in str(response["status"])
    labels = {"webhook": "validate", "answer": "refused"}
    assert registry.get_sample_value("weft_operator_admissions_total", labels) == 1
    assert registry.get_sample_value("weft_operator_admission_seconds_count", {"webhook": "validate"}) == 1


@pytest.mark.parametrize("path", [VALIDATE_PATH, MUTATE_PATH])
async def test_what_is_no_review_is_a_bad_request(client: Client, path: str) -> None:
    for data in (b"", b"{}", b"\x00", b"[" * 200_000):
        answer = await client.post(path, data=BytesIO(data))
        assert answer.status == 400
        assert "not an AdmissionReview" in await answer.text()
    assert (await client.get(path)).status == 405


async def test_a_failure_of_our_own_lets_objects_in_and_pods_without_gate_not(
    client: Client, around: Broken, registry: CollectorRegistry
) -> None:
    around.broken = True
    right = policy("AuthorizationPolicy", "web", {"rules": [{}]})
    response = answer_of(await (await client.post(VALIDATE_PATH, data=review(right))).read())
    assert response["allowed"] is True
    assert "could not judge this object" in str(response["warnings"])
    response = answer_of(await (await client.post(MUTATE_PATH, data=review(pod("web")))).read())
    assert response["allowed"] is False
    assert "could not add the capture gate" in str(response["status"])
    for webhook in ("validate", "mutate"):
        labels = {"webhook": webhook, "answer": "failed"}
        assert registry.get_sample_value("weft_operator_admissions_total", labels) == 1


def big_policy(rules: int) -> bytes:
    operation = {"operation": {"paths": [f"/p{n}" for n in range(64)], "methods": ["GET"]}}
    return review(policy("AuthorizationPolicy", "big", {"rules": [{"to": [operation] * 8}] * rules}))


async def test_an_ordinary_object_is_answered_within_50_ms(client: Client) -> None:
    data = big_policy(2)
    times = []
    for _ in range(10):
        begun = time.perf_counter()
        assert answer_of(await (await client.post(VALIDATE_PATH, data=BytesIO(data))).read())["allowed"] is True
        times.append(time.perf_counter() - begun)
    assert sorted(times)[len(times) // 2] < 0.05


async def test_the_largest_objects_are_judged_beside_other_work(client: Client) -> None:
    data = big_policy(128)
    assert len(data) > 500_000
    pauses: list[float] = []

    async def watch() -> None:
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(0)
            pauses.append(time.perf_counter() - begun)

    watcher = asyncio.create_task(watch())
    begun = time.perf_counter()
    response = answer_of(await (await client.post(VALIDATE_PATH, data=BytesIO(data))).read())
    took = time.perf_counter() - begun
    watcher.cancel()
    assert response["allowed"] is True
    assert max(pauses) < took / 2
    assert (await client.post(VALIDATE_PATH, data=BytesIO(b"x" * (MAX_REVIEW_BYTES + 1)))).status == 413


async def test_requests_at_once_are_each_answered_with_their_own_uid(client: Client) -> None:
    async def one(number: int) -> None:
        body = json.loads(review(pod(f"p{number}")))
        body["request"]["uid"] = f"uid-{number}"
        answer = await client.post(MUTATE_PATH, data=json.dumps(body))
        assert (await answer.json())["response"]["uid"] == f"uid-{number}"

    await asyncio.gather(*(one(number) for number in range(50)))
