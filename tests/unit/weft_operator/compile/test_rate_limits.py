"""RateLimitPolicy objects to resources."""

from weft_contract.objects import RateLimitPolicy as PolicyObject
from weft_contract.objects import decode_object
from weft_contract.resources import Operation, RateLimit, RateLimitPolicy, TextMatch
from weft_contract.resources.policy import ClientLimit
from weft_operator.compile.rate_limits import compile_rate_limit
from weft_testing import objects as o


def _compiled(spec: dict[str, object], broken: str | None = None) -> RateLimitPolicy:
    item = decode_object(o.policy("RateLimitPolicy", "p", spec), "x")
    assert isinstance(item, PolicyObject)
    return compile_rate_limit(item, broken)


def test_a_policy_with_everything() -> None:
    spec: o.Doc = {
        "match": [{"paths": ["/a*"]}, {"methods": ["POST"]}],
        "total": {"requestsPerSecond": 100, "burst": 150},
        "identity": {"requestsPerSecond": 2.5},
        "overrides": [{"requestsPerSecond": 50, "clientRefs": [{"name": "a"}, {"name": "b", "namespace": "other"}]}],
    }
    assert _compiled(spec) == RateLimitPolicy(
        namespace="shop",
        name="p",
        operations=(
            Operation(paths=(TextMatch(kind="prefix", value="/a"),)),
            Operation(methods=(TextMatch(value="POST"),)),
        ),
        total=RateLimit(requests_per_second=100.0, burst=150, per="total"),
        client=RateLimit(requests_per_second=2.5, burst=3, per="client"),
        overrides=(ClientLimit(service_accounts=("shop/a", "other/b"), requests_per_second=50.0, burst=50),),
    )


def test_a_broken_policy_refuses() -> None:
    broken = _compiled({"total": {"requestsPerSecond": 1}}, "why")
    assert broken == RateLimitPolicy(namespace="shop", name="p", invalid="why")
