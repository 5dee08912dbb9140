"""Which rule takes a request: Gateway API precedence, weights, refusals, consumer routes."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft_contract.resources import Backend, HttpMatch, HttpRule, Route, RouteParent, TextMatch
from weft_contract.resources.route import Filters, NamedMatch, Redirect
from weft_core.errors import InvalidBackendError, NoRouteError
from weft_core.facts import RequestFacts
from weft_core.routing import Forward, HttpRouter, Outcome, RedirectTo, Refused, compile_route
from weft_core.text import UncompilableError
from weft_testing.decisions import request
from weft_testing.routes import (
    PATHS,
    PRODUCER,
    SERVICE,
    http_route,
    leads,
    match,
    route_lists,
    router,
    tcp_route,
    tcp_router,
)

RANDOMS = (0, 1, 2**31, 2**32 - 1)


def backend(outcome: Outcome) -> str:
    assert isinstance(outcome, Forward), outcome
    return outcome.service


def refusal(outcome: Outcome) -> Refused:
    assert isinstance(outcome, Refused), outcome
    return outcome


def chosen(made: HttpRouter, line: str = "GET /", **more: object) -> str:
    return backend(made.route(request(line, **more), 0))  # type: ignore[arg-type] # keywords of request()


# -- precedence ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("winner", "loser", "line"),
    [
        (match("=/foo"), match("/foo"), "GET /foo"),
        (match("=/foo"), match("/foo", method="GET", headers=("x-a=1",), query=("q=1",)), "GET /foo"),
        (match("=/foo"), match("~/fo+"), "GET /foo"),
        (match("/foo/bar"), match("/foo"), "GET /foo/bar/baz"),
        (match("/foo"), match("/", method="GET"), "GET /foo"),
        (match("~/f.*"), match("/foo"), "GET /foo"),
        (match("~/foo.*"), match("~/f.*"), "GET /foo"),
        (match("/foo", method="GET"), match("/foo", headers=("x-a=1", "x-b=2")), "GET /foo"),
        (match("/foo", headers=("x-a=1", "x-b=2")), match("/foo", headers=("x-a=1",), query=("q=1",)), "GET /foo"),
        (match("/foo", headers=("x-a=1",)), match("/foo", query=("q=1", "r=2")), "GET /foo"),
        (match("/foo", query=("q=1", "r=2")), match("/foo", query=("q=1",)), "GET /foo"),
        (match("/foo"), match(), "GET /foo"),
        (match("/foo/"), match("/"), "GET /foo"),
    ],
)
def test_the_more_specific_match_wins_wherever_it_stands(winner: HttpMatch, loser: HttpMatch, line: str) -> None:
    headers, query = ((b"x-a", b"1"), (b"x-b", b"2")), "q=1&r=2"
    first, second = leads(winner, to="shop/win"), leads(loser, to="shop/lose")
    for rules in ((first, second), (second, first)):
        assert chosen(router(http_route(*rules)), line, headers=headers, query=query) == "shop/win"
    apart = router(http_route(second, name="a", created=1.0), http_route(first, name="b", created=2.0))
    assert chosen(apart, line, headers=headers, query=query) == "shop/win"


def test_ties_go_to_the_older_route_then_the_name_then_the_order() -> None:
    old, new = leads(to="shop/old"), leads(to="shop/new")
    assert chosen(router(http_route(new, name="a", created=2.0), http_route(old, name="b", created=1.0))) == "shop/old"
    assert chosen(router(http_route(new, name="b"), http_route(old, name="a"))) == "shop/old"
    by_namespace = (http_route(new, name="a", namespace="z"), http_route(old, name="b", namespace="a"))
    assert chosen(router(*by_namespace)) == "shop/old"
    assert chosen(router(http_route(old, new))) == "shop/old"


def naive_first(routes: tuple[Route, ...], req: RequestFacts) -> str | None:
    """The specification once more: score every match that takes the request, take the best."""

    def takes(one: HttpMatch) -> bool:
        path, asked = one.path, req.path.decode()
        if path is not None and path.kind == "exact" and asked != path.value:
            return False
        if path is not None and path.kind == "prefix":
            wanted = [part for part in path.value.split("/") if part]
            if asked.split("/")[1:][: len(wanted)] != wanted:
                return False
        if path is not None and path.kind == "regex":
            tail = asked.removeprefix("/foo") if path.value == "/foo.*" else None
            if path.value == "/foo.*" and tail == asked:
                return False
            if path.value == "/[a-z]+" and not (asked[1:].isalpha() and asked[1:].islower()):
                return False
        if one.method is not None and one.method.encode() != req.method:
            return False
        if any((n.name.encode(), n.match.value.encode()) not in req.headers for n in one.headers):
            return False
        return all(f"{n.name}={n.match.value}".encode() in req.query.split(b"&") for n in one.query)

    def score(route: Route, index: int, position: int, one: HttpMatch) -> tuple[object, ...]:
        path = one.path or TextMatch(kind="prefix", value="/")
        length = len(path.value.rstrip("/") or "/") if path.kind == "prefix" else len(path.value)
        kinds = {"exact": 2, "regex": 1, "prefix": 0}
        specific = (kinds[path.kind], length, one.method is not None, len(one.headers), len(one.query))
        return (*(-int(part) for part in specific), route.created_unix_s, f"shop/{route.name}", index, position)

    found = [
        (score(route, index, position, one), rule.backends[0].service)
        for route in routes
        for index, rule in enumerate(route.http)
        for position, one in enumerate(rule.matches)
        if takes(one)
    ]
    return min(found)[1] if found else None


requests = st.builds(
    RequestFacts,
    method=st.sampled_from((b"GET", b"POST", b"get")),
    host=st.just(b"web"),
    path=st.sampled_from([path.encode() for path in (*PATHS, "/foo/bar/baz", "/x")]),
    query=st.sampled_from((b"", b"q=1", b"q=1&r=2", b"r=2&q=1&q=2")),
    headers=st.sampled_from(((), ((b"x-a", b"1"),), ((b"x-a", b"1"), (b"x-b", b"2")), ((b"x-a", b"2"),))),
)


@settings(max_examples=300, deadline=None)
@given(route_lists(), st.lists(requests, min_size=1, max_size=5))
def test_equals_the_specification(routes: tuple[Route, ...], asked: list[RequestFacts]) -> None:
    made = router(*routes)
    for req in asked * 2:
        outcome = made.route(req, 0)
        expected = naive_first(routes, req) if routes else SERVICE
        if expected is None:
            assert refusal(outcome).kind is NoRouteError
        else:
            assert backend(outcome) == expected
        known = made.cached(req.method, req.path, 0)
        assert known is None or known == outcome


# -- matching -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "yes", "no"),
    [
        ("/abc", ["/abc", "/abc/", "/abc/def"], ["/abcd", "/ab", "/", "/x/abc"]),
        ("/abc/", ["/abc", "/abc/", "/abc/def"], ["/abcd"]),
        ("/", ["/", "/abc", "*"], []),
        ("=/abc", ["/abc"], ["/abc/", "/Abc", "/abcd"]),
        ("~/a.c", ["/abc"], ["/abcd", "/x/abc"]),
    ],
)
def test_paths(written: str, yes: list[str], no: list[str]) -> None:
    made = router(http_route(leads(match(written))))
    for path in yes:
        assert chosen(made, f"GET {path}") == "shop/v1"
    for path in no:
        assert refusal(made.route(request(f"GET {path}"), 0)).kind is NoRouteError


def test_headers_compare_without_case_of_the_name_and_any_value_suffices() -> None:
    one = HttpMatch(headers=(NamedMatch(name="X-Env", match=TextMatch(value="b")),))
    made = router(http_route(leads(one)))
    assert made.needs_headers
    assert chosen(made, headers=((b"x-env", b"a"), (b"x-env", b"b"))) == "shop/v1"
    for headers in ((), ((b"x-env", b"a, b"),), ((b"x-envy", b"b"),)):
        assert refusal(made.route(request(headers=headers), 0)).kind is NoRouteError


def test_only_the_first_of_two_comparisons_of_one_name_counts() -> None:
    named = (
        NamedMatch(name="X-Env", match=TextMatch(value="a")),
        NamedMatch(name="x-env", match=TextMatch(value="b")),
    )
    made = router(http_route(leads(HttpMatch(headers=named))))
    assert chosen(made, headers=((b"x-env", b"a"),)) == "shop/v1"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("name=a%20c", False),
        ("name=a%20b", True),
        ("name=a+b", True),
        ("x=1&name=a%20b&name=other", True),
        ("name=other&name=a%20b", False),
        ("Name=a%20b", False),
        ("n%61me=a%20b", True),
        ("", False),
        ("name", False),
    ],
)
def test_query_parameters_are_decoded_and_the_first_counts(query: str, expected: bool) -> None:
    made = router(http_route(leads(match(query=("name=a b",)))))
    assert made.needs_query
    outcome = made.route(request(query=query), 0)
    assert isinstance(outcome, Forward) is expected


def test_the_host_plays_no_part() -> None:
    made = router(http_route(leads(match("/foo"))))
    assert chosen(made, "GET /foo", host="anything.else") == "shop/v1"


# -- presence of routes -------------------------------------------------------------------------------------------


def test_without_routes_the_service_itself_is_meant() -> None:
    outcome = router().route(request("GET /any"), 0)
    assert outcome == Forward(SERVICE, 80)
    assert router().cached(b"GET", b"/any", 0) == outcome


def test_with_routes_what_no_rule_takes_is_refused() -> None:
    found = refusal(router(http_route(leads(match("/foo")), name="web")).route(request("GET /bar"), 0))
    assert found.kind is NoRouteError
    assert found.message == "no rule of HTTPRoute/shop/web takes the request to shop/web:80"
    assert found.error.http_status == 404
    assert found.error is not found.error, "a raised exception must not be shared"


def test_a_rule_without_backends_means_the_called_service() -> None:
    outcome = router(http_route(HttpRule(request_timeout_s=2.0)), port=8080).route(request(), 0)
    assert outcome == Forward(SERVICE, 8080, "HTTPRoute/shop/r", "rules[0]", request_timeout_s=2.0)


def test_a_route_without_rules_takes_everything_to_the_called_service() -> None:
    assert chosen(router(http_route())) == SERVICE


def test_a_route_of_one_port_leaves_the_others() -> None:
    only = http_route(leads(to="shop/v1"), parents=(RouteParent(service=SERVICE, port=80),))
    assert chosen(router(only, port=80)) == "shop/v1"
    assert chosen(router(only, port=90)) == SERVICE
    elsewhere = http_route(leads(), parents=(RouteParent(service="shop/other"),))
    assert chosen(router(elsewhere)) == SERVICE


def test_a_consumer_route_replaces_the_producers_for_its_namespace() -> None:
    producer = http_route(leads(match("/a"), to="shop/v1"), created=1.0)
    mine = RouteParent(service=SERVICE, consumer_namespace="client")
    consumer = http_route(leads(match("/b"), to="shop/v2"), name="c", created=2.0, namespace="client", parents=(mine,))
    inside, outside = (
        router(producer, consumer, namespace="client"),
        router(producer, consumer, namespace="other"),
    )
    assert chosen(inside, "GET /b") == "shop/v2"
    assert refusal(inside.route(request("GET /a"), 0)).kind is NoRouteError, "sets are not merged"
    assert chosen(outside, "GET /a") == "shop/v1"
    assert refusal(outside.route(request("GET /b"), 0)).kind is NoRouteError
    assert chosen(router(consumer, namespace="other")) == SERVICE


def test_of_several_kinds_the_first_applies() -> None:
    http, tcp = http_route(leads(match("/a"), to="shop/http")), tcp_route(Backend(service="shop/tcp", port=80))
    grpc = Route(
        origin="GRPCRoute",
        namespace="shop",
        name="g",
        parents=(PRODUCER,),
        http=(leads(match("=/s/M"), to="shop/grpc"),),
    )
    assert chosen(router(http, grpc, tcp), "POST /s/M") == "shop/grpc"
    assert refusal(router(http, grpc, tcp).route(request("GET /a"), 0)).kind is NoRouteError
    assert chosen(router(http, tcp), "GET /a") == "shop/http"
    assert chosen(router(tcp), "GET /a") == "shop/tcp"
    assert tcp_router(http, tcp).route(0) == Forward(SERVICE, 80)


# -- backends -----------------------------------------------------------------------------------------------------


def shares(made: HttpRouter, samples: int = 1 << 12) -> Counter[str]:
    step = 2**32 // samples
    outcomes = [made.route(request(), index * step) for index in range(samples)]
    return Counter(o.service if isinstance(o, Forward) else type(o).__name__ for o in outcomes)


def backends(*weights: int, invalid: int | None = None) -> tuple[Backend, ...]:
    return tuple(
        Backend(
            service=f"shop/v{index}", port=80, weight=weight, invalid="BackendNotFound" if index == invalid else None
        )
        for index, weight in enumerate(weights)
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=6).filter(any))
def test_shares_are_as_the_weights_say(weights: list[int]) -> None:
    samples = 1 << 12
    counted = shares(router(http_route(leads(to=backends(*weights)))), samples)
    for index, weight in enumerate(weights):
        assert abs(counted[f"shop/v{index}"] - samples * weight / sum(weights)) <= 2
        assert weight or f"shop/v{index}" not in counted


def test_both_ends_of_the_random_range_are_in() -> None:
    made = router(http_route(leads(to=backends(1, 99))))
    assert [backend(made.route(request(), number)) for number in (0, 2**32 - 1)] == ["shop/v0", "shop/v1"]
    assert backend(made.route(request(), int(2**32 * 0.01) - 1)) == "shop/v0"
    assert backend(made.route(request(), int(2**32 * 0.01) + 1)) == "shop/v1"


def test_an_invalid_backend_keeps_its_share_and_answers_500() -> None:
    made = router(http_route(leads(to=backends(1, 1, invalid=1))))
    assert shares(made) == {"shop/v0": 2048, "Refused": 2048}
    found = refusal(made.route(request(), 2**32 - 1))
    assert found.kind is InvalidBackendError
    assert found.error.http_status == 500
    assert found.message == "HTTPRoute/shop/r rules[0] backend shop/v1:80 does not resolve: BackendNotFound"


def test_no_weight_at_all_answers_500() -> None:
    assert refusal(router(http_route(leads(to=backends(0, 0)))).route(request(), 0)).kind is InvalidBackendError


def test_weights_hold_for_remembered_matches() -> None:
    made = router(http_route(leads(match("/"), to=backends(1, 1))))
    assert {chosen(made, "GET /x") for _ in range(3)} == {"shop/v0"}
    assert backend(made.route(request("GET /x"), 2**32 - 1)) == "shop/v1"


def test_an_invalid_route_refuses_what_it_would_take() -> None:
    broken = http_route(leads(match("/a")), invalid="UnsupportedValue: filters[0]")
    healthy = http_route(leads(match("/"), to="shop/v2"), name="s")
    made = router(broken, healthy)
    found = refusal(made.route(request("GET /a"), 0))
    assert found.kind is InvalidBackendError
    assert found.message.endswith("the route is invalid: UnsupportedValue: filters[0]")
    assert chosen(made, "GET /b") == "shop/v2"
    everything = router(http_route(invalid="no rules could be read"))
    assert refusal(everything.route(request("GET /z"), 0)).kind is InvalidBackendError


def test_a_redirect_is_no_forward() -> None:
    rule = HttpRule(filters=Filters(redirect=Redirect(status=301)), name="away")
    outcome = router(http_route(rule)).route(request(), 0)
    assert isinstance(outcome, RedirectTo)
    assert (outcome.redirect.status, outcome.route, outcome.rule) == (301, "HTTPRoute/shop/r", "away")
    shared = Backend(service="shop/v1", port=80, filters=Filters(redirect=Redirect()))
    made = router(http_route(leads(to=(Backend(service="shop/v0", port=80), shared))))
    assert shares(made) == {"shop/v0": 2048, "RedirectTo": 2048}


def test_timeouts_and_names_travel_with_the_forward() -> None:
    rule = HttpRule(backends=backends(1), name="slow", request_timeout_s=5.0, backend_timeout_s=1.0)
    outcome = router(http_route(rule)).route(request(), 0)
    assert isinstance(outcome, Forward)
    assert (outcome.route, outcome.rule) == ("HTTPRoute/shop/r", "slow")
    assert (outcome.request_timeout_s, outcome.backend_timeout_s) == (5.0, 1.0)
    zero = router(http_route(HttpRule(backends=backends(1), request_timeout_s=0.0))).route(request(), 0)
    assert isinstance(zero, Forward)
    assert zero.request_timeout_s is None, "0s means no timeout"


# -- memory -------------------------------------------------------------------------------------------------------


def test_hostile_paths_cannot_grow_the_memory() -> None:
    made = router(http_route(leads(match("/a"))))
    bound = made._budget.entries_max
    for index in range(bound + 100):
        made.route(request(f"GET /a/{index}"), 0)
        assert len(made._memo) <= bound
    made.route(request("GET /a/" + "x" * 5000), 0)
    assert made.cached(b"GET", b"/a/" + b"x" * 5000, 0) is None


def test_nothing_is_remembered_where_headers_or_query_matter() -> None:
    made = router(http_route(leads(match("/", headers=("x-a=1",)), to="shop/v1"), leads(to="shop/v2")))
    assert chosen(made) == "shop/v2"
    assert made.cached(b"GET", b"/", 0) is None
    assert chosen(made, headers=((b"x-a", b"1"),)) == "shop/v1"


def test_a_query_is_asked_each_time() -> None:
    made = router(http_route(leads(match("/", query=("q=1",)), to="shop/v1"), leads(to="shop/v2")))
    assert [chosen(made, query=query) for query in ("", "q=1", "q=2")] == ["shop/v2", "shop/v1", "shop/v2"]


# -- TCP ----------------------------------------------------------------------------------------------------------


def test_tcp_routes_choose_by_weight() -> None:
    made = tcp_router(tcp_route(*backends(1, 3, invalid=0)))
    outcomes = [made.route(index << 22) for index in range(1 << 10)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
    assert len(refused) == 256
    assert all(outcome.kind is InvalidBackendError for outcome in refused)


def test_the_oldest_tcp_route_takes_all() -> None:
    one = tcp_route(Backend(service="shop/new", port=1), name="a", created=2.0)
    other = tcp_route(Backend(service="shop/old", port=1), name="b", created=1.0)
    outcome = tcp_router(one, other).route(0)
    assert outcome == Forward("shop/old", 1, "TCPRoute/shop/b", "rules[0]")


def test_tcp_without_routes_or_backends_means_the_service() -> None:
    assert tcp_router().route(0) == Forward(SERVICE, 80)
    assert tcp_router(tcp_route()).route(0) == Forward(SERVICE, 80, "TCPRoute/shop/t", "rules[0]")


# -- what cannot be compiled --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (leads(match("~(")), "is not RE2"),
        (leads(match("=foo")), "does not begin with /"),
        (leads(HttpMatch(path=TextMatch(kind="suffix", value="/x"))), "not by suffix"),
        (leads(HttpMatch(path=TextMatch(kind="template", value="/{*}"))), "not by template"),
        (HttpRule(filters=Filters(redirect=Redirect(status=200))), "is not a redirect status"),
        (HttpRule(filters=Filters(redirect=Redirect(scheme="ftp"))), "neither http nor https"),
        (HttpRule(filters=Filters(redirect=Redirect(port=0))), "not in 1-65535"),
        (HttpRule(filters=Filters(redirect=Redirect(hostname="a b"))), "is not a host name"),
    ],
)
def test_what_cannot_be_compiled_names_its_rule(rule: HttpRule, why: str) -> None:
    with pytest.raises(UncompilableError, match=r"^HTTPRoute/shop/r rules\[1\]: ") as caught:
        compile_route(http_route(leads(), rule))
    assert why in str(caught.value)


# -- for whoever explains -----------------------------------------------------------------------------------------


def test_outcomes_are_what_route_may_answer_with_their_shares() -> None:
    made = router(http_route(leads(match("/a"), to=backends(90, 10, 0)), leads(match("/b"), to="shop/v9")))
    found = made.outcomes(request("GET /a"))
    assert [(backend(outcome), share) for outcome, share in found] == [("shop/v0", 0.9), ("shop/v1", 0.1)]
    assert {outcome for outcome, _ in found} == {made.route(request("GET /a"), rng) for rng in (0, 2**32 - 1)}
    assert [share for _, share in made.outcomes(request("GET /b"))] == [1.0]
    assert refusal(made.outcomes(request("GET /none"))[0][0]).kind is NoRouteError
    assert [share for _, share in tcp_router(tcp_route(*backends(1, 3))).outcomes()] == [0.25, 0.75]
