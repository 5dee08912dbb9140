"""What each field of a rule means, and what cannot be compiled: such a policy denies, it does not vanish."""

import pytest

from weft_contract.resources import Condition, Operation, Rule, Source, TextMatch
from weft_core.decision import Allowed, Denied
from weft_core.facts import ConnectionFacts, RequestFacts
from weft_core.policy import compile_policy
from weft_core.text import UncompilableError
from weft_testing.decisions import (
    decide,
    facts,
    identity,
    inbound,
    policy,
    rate,
    request,
    rule,
    source,
    text,
    texts,
    to,
    when,
)

HOME = identity("shop", "a")
FOREIGN = identity("shop", "a", domain="other.example")


def matches(part: Source | Operation | Condition, connection: ConnectionFacts, req: RequestFacts | None = None) -> bool:
    """Whether a DENY rule of this one part matches."""
    return isinstance(decide(inbound(policy("DENY", rule(part))), connection, req), Denied)


def permits(part: Source | Operation | Condition, connection: ConnectionFacts, req: RequestFacts | None = None) -> bool:
    """Whether an ALLOW rule of this one part matches."""
    return isinstance(decide(inbound(policy("ALLOW", rule(part))), connection, req), Allowed)


# -- sources ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "yes", "no"),
    [
        (source("cluster.local/ns/shop/sa/a"), facts(HOME), facts(identity("shop", "ab"))),
        (source("cluster.local/ns/shop/*"), facts(HOME), facts(identity("dev", "a"))),
        (source("*/sa/a"), facts(HOME), facts(identity("shop", "b"))),
        (source("*"), facts(HOME), facts(None)),
        (source(namespaces=("shop",)), facts(HOME), facts(identity("shop2", "a"))),
        (source(accounts=("shop/a",)), facts(HOME), facts(identity("dev", "a"))),
        (source(blocks=("10.1.0.0/16",)), facts(address="10.1.2.3"), facts(address="10.2.0.1")),
        (source(blocks=("fd00::/64",)), facts(address="fd00::5"), facts(address="fd01::5")),
        (Source(not_principals=texts("*/sa/evil")), facts(HOME), facts(identity("x", "evil"))),
        (Source(not_principals=texts("*/sa/evil")), facts(None), facts(identity("x", "evil"))),
        (Source(not_namespaces=texts("dev")), facts(HOME), facts(identity("dev", "a"))),
        (Source(not_service_accounts=("shop/b",)), facts(HOME), facts(identity("shop", "b"))),
        (Source(not_ip_blocks=("10.1.0.0/16",)), facts(address="10.2.0.1"), facts(address="10.1.2.3")),
        (source("*", namespaces=("shop",)), facts(HOME), facts(identity("dev", "a"))),
    ],
)
def test_sources(part: Source, yes: ConnectionFacts, no: ConnectionFacts) -> None:
    assert (matches(part, yes), permits(part, yes)) == (True, True)
    assert (matches(part, no), permits(part, no)) == (False, False)


def test_cve_2026_39350_a_dot_in_a_service_account_is_a_dot() -> None:
    for part in (source(accounts=("shop/a.b",)), source("cluster.local/ns/shop/sa/a.b")):
        assert permits(part, facts(identity("shop", "a.b")))
        assert not permits(part, facts(identity("shop", "axb")))


def test_names_of_a_foreign_trust_domain_never_permit_and_always_restrict() -> None:
    for part in (source(namespaces=("shop",)), source(accounts=("shop/a",))):
        assert not permits(part, facts(FOREIGN))
        assert matches(part, facts(FOREIGN))
    for negative in (Source(not_namespaces=texts("shop")), Source(not_service_accounts=("shop/a",))):
        assert not permits(negative, facts(FOREIGN))
        assert matches(negative, facts(FOREIGN))
    assert permits(source("other.example/ns/shop/sa/a"), facts(FOREIGN))


def test_one_of_several_sources_suffices() -> None:
    part = rule(source(namespaces=("dev",)), source(namespaces=("shop",)))
    assert isinstance(decide(inbound(policy("ALLOW", part)), facts(HOME), request()), Allowed)


# -- operations ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "yes", "no"),
    [
        (to("/foo"), request("GET /foo"), request("GET /foo/")),
        (to("/foo*"), request("GET /foobar"), request("GET /fo")),
        (to("*/bar"), request("GET /foo/bar"), request("GET /foo/bar/")),
        (to("/foo/{*}"), request("GET /foo/*"), request("GET /foo/a/b")),
        (to(methods=("GET",)), request("GET /"), request("get /")),
        (to(methods=("*",)), request("GET /"), request(" /")),
        (to(hosts=("Example.COM",)), request(host="example.com"), request(host="example.org")),
        (to(hosts=("*.example.com",)), request(host="a.example.com"), request(host="example.com")),
        (to(hosts=("example.*",)), request(host="example.org"), request(host="an.example.org")),
        (Operation(not_paths=texts("/admin*")), request("GET /x"), request("GET /admin")),
        (Operation(not_methods=texts("POST")), request("GET /x"), request("POST /x")),
        (Operation(not_hosts=texts("evil")), request(host="good"), request(host="evil")),
        (to("/foo", methods=("GET",)), request("GET /foo"), request("POST /foo")),
    ],
)
def test_operations(part: Operation, yes: RequestFacts, no: RequestFacts) -> None:
    assert (matches(part, facts(), yes), permits(part, facts(), yes)) == (True, True)
    assert (matches(part, facts(), no), permits(part, facts(), no)) == (False, False)


@pytest.mark.parametrize(
    "written", ["example.com:8080", "example.com.", "example.com:*", "EXAMPLE.com", "example.com.:80", "*ple.com:80"]
)
def test_hosts_compare_without_port_dot_and_case(written: str) -> None:
    assert matches(to(hosts=(written,)), facts(), request(host="example.com"))


def test_an_ipv6_host_is_left_alone() -> None:
    assert matches(to(hosts=("[fd00::1]",)), facts(), request(host="[fd00::1]"))
    assert matches(to(hosts=("[fd00::1]:80",)), facts(), request(host="[fd00::1]"))


def test_a_host_pattern_compares_without_case() -> None:
    part = Operation(hosts=(TextMatch(kind="regex", value="Web-[0-9]+"),))
    assert matches(part, facts(), request(host="web-7"))


def test_cve_2025_46821_a_star_in_a_path_is_matched_by_a_template() -> None:
    for path in ("/admin/*", "/admin/a*b", "/admin/**"):
        assert matches(to("/admin/{*}"), facts(), request(f"GET {path}"))
        assert matches(to("/admin/{**}"), facts(), request(f"GET {path}"))


def test_cve_2026_73552_bytes_beyond_utf_8_do_not_escape_a_pattern() -> None:
    part = Operation(paths=(TextMatch(kind="regex", value="/admin.*"),))
    hostile = RequestFacts(method=b"GET", host=b"h", path=b"/admin/\xff\xfe")
    assert matches(part, facts(), hostile)
    wanted = Condition(key="request.headers[x]", values=(TextMatch(kind="regex", value=".*evil.*"),))
    assert matches(wanted, facts(), request(headers=((b"x", b"\xffevil\xff"),)))


def test_ports_belong_to_the_connection() -> None:
    assert permits(to(ports=(8080,)), facts(port=8080), request())
    assert not permits(to(ports=(8080,)), facts(port=80), request())
    assert permits(Operation(not_ports=(80,)), facts(port=8080), request())
    assert not permits(Operation(not_ports=(80,)), facts(port=80), request())


# -- conditions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "yes", "no"),
    [
        (when("source.ip", "10.1.0.0/16"), facts(address="10.1.0.1"), facts(address="10.2.0.1")),
        (when("source.ip", unless=("10.1.0.0/16",)), facts(address="10.2.0.1"), facts(address="10.1.0.1")),
        (when("destination.ip", "10.1.0.5"), facts(to="10.1.0.5"), facts(to="10.1.0.6")),
        (when("source.namespace", "shop"), facts(HOME), facts(identity("dev", "a"))),
        (when("source.principal", "*/ns/shop/sa/a"), facts(HOME), facts(None)),
        (when("source.serviceAccount", "shop/a"), facts(HOME), facts(identity("dev", "a"))),
        (when("destination.port", "8080"), facts(port=8080), facts(port=80)),
        (when("destination.port", unless=("80",)), facts(port=8080), facts(port=80)),
        (when("connection.sni", "*.Example.com"), facts(sni="a.example.com"), facts(sni="")),
        (when("connection.sni", unless=("a.example.com",)), facts(sni=""), facts(sni="a.example.com")),
    ],
)
def test_conditions_of_the_connection(part: Condition, yes: ConnectionFacts, no: ConnectionFacts) -> None:
    assert (matches(part, yes), permits(part, yes)) == (True, True)
    assert (matches(part, no), permits(part, no)) == (False, False)


def headed(*values: bytes) -> RequestFacts:
    return request(headers=tuple((b"x-team", value) for value in values))


WANTED = when("request.headers[X-Team]", "a", "b*")
UNWANTED = when("request.headers[X-Team]", unless=("evil",))


@pytest.mark.parametrize(
    ("values", "denies", "allows"),
    [
        ((b"a",), True, True),
        ((b"bcd",), True, True),
        ((), False, False),
        ((b"c",), False, False),
        ((b"",), False, False),
    ],
)
def test_a_wanted_header(values: tuple[bytes, ...], denies: bool, allows: bool) -> None:
    assert (matches(WANTED, facts(), headed(*values)), permits(WANTED, facts(), headed(*values))) == (denies, allows)


@pytest.mark.parametrize(
    ("values", "denies", "allows"), [((b"a",), True, True), ((), True, True), ((b"evil",), False, False)]
)
def test_an_unwanted_header(values: tuple[bytes, ...], denies: bool, allows: bool) -> None:
    assert (matches(UNWANTED, facts(), headed(*values)), permits(UNWANTED, facts(), headed(*values))) == (
        denies,
        allows,
    )


def test_cve_2026_26308_each_value_of_a_repeated_header_is_matched_by_itself() -> None:
    both, joined = headed(b"a", b"evil"), headed(b"a, evil")
    assert matches(WANTED, facts(), both), "one value suffices to deny"
    assert not permits(WANTED, facts(), both), "every value must please a rule that allows"
    assert not matches(WANTED, facts(), joined), "never compared as one joined text"
    assert not permits(UNWANTED, facts(), both), "none may be there"
    assert matches(UNWANTED, facts(), both), "hiding behind a second value does not help"


def test_only_the_named_header_counts() -> None:
    other = request(headers=((b"x-teams", b"a"), (b"team", b"a")))
    assert not permits(WANTED, facts(), other)


def test_go_2025_4167_an_empty_selector_does_not_become_everybody() -> None:
    for part in (rule(Source()), rule(Operation()), rule(source("*/sa/a"), Source())):
        decision = decide(inbound(policy("ALLOW", part)), facts(identity("evil", "x")), request())
        assert isinstance(decision, Denied)
        assert decision.reason == "policy_invalid"


# -- what cannot be compiled --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "why"),
    [
        (rule(Source()), "would match everybody"),
        (rule(Operation()), "would match everything"),
        (rule(source(blocks=("10.0.0.0/99",))), "neither CIDR nor address"),
        (rule(to(ports=(0,))), "not in 1-65535"),
        (rule(to(ports=(65536,))), "not in 1-65535"),
        (rule(Operation(paths=(TextMatch(kind="regex", value="("),))), "is not RE2"),
        (rule(to("/a/{*}b")), "mixes an operator"),
        (rule(Operation(paths=(TextMatch(kind="prefix", value=""),))), "would match everything"),
        (rule(Condition(key="request.auth.claims[iss]", values=texts("x"))), "is not known"),
        (rule(Condition(key="request.headers[]", values=texts("x"))), "is not known"),
        (rule(Condition(key="request.headers[a b]", values=texts("x"))), "is not known"),
        (rule(Condition(key="source.ip")), "neither values nor notValues"),
        (rule(Condition(key="source.ip", values=(text("10.*"),))), "compares with CIDR blocks"),
        (rule(rate=rate(0, 1)), "not above 0"),
        (rule(rate=rate(float("nan"), 1)), "not above 0"),
        (rule(rate=rate(float("inf"), 1)), "not above 0"),
        (rule(rate=rate(1, 0)), "at least 1"),
    ],
)
def test_a_rule_that_cannot_be_compiled_denies_everything(part: Rule, why: str) -> None:
    applied = policy("ALLOW", rule(), part, name="broken")
    with pytest.raises(UncompilableError, match=r"^rules\[1\]: ") as caught:
        compile_policy(applied)
    assert why in str(caught.value)
    decision = decide(inbound(applied), facts(HOME), request())
    assert isinstance(decision, Denied)
    assert (decision.reason, decision.policy) == ("policy_invalid", "shop/broken")
    assert why in decision.message
