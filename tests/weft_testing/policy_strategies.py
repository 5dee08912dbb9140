"""Hypothesis strategies for policies and facts over a small world, so that rules and requests often meet."""

from hypothesis import strategies as st

from weft_contract.identity import SpiffeId
from weft_contract.resources import AuthorizationPolicy, Condition, Operation, RateLimit, Rule, Source, TextMatch
from weft_core.facts import ConnectionFacts, RequestFacts

DOMAINS = ("cluster.local", "other.example")
NAMESPACES = ("shop", "dev")
ACCOUNTS = ("a", "b.c")
ADDRESSES = ("10.0.0.1", "10.0.1.1", "192.168.7.1", "fd00::1", "fd00:1::1")
BLOCKS = ("10.0.0.0/24", "10.0.0.0/8", "192.168.7.1", "fd00::/64", "::/0", "0.0.0.0/0")
PORTS = (80, 8080)
METHODS = ("GET", "get", "POST")
HOSTS = ("web", "web.shop", "WEB.shop")
PATHS = ("/", "/foo", "/foo/bar", "/foo/bar/baz", "/foobar", "/foo/*")
HEADER_VALUES = ("1", "2", "12", "\xff")

identities = st.builds(SpiffeId, st.sampled_from(DOMAINS), st.sampled_from(NAMESPACES), st.sampled_from(ACCOUNTS))
connections = st.builds(
    ConnectionFacts,
    source=st.none() | identities,
    source_address=st.sampled_from(ADDRESSES),
    destination_address=st.sampled_from(ADDRESSES),
    destination_port=st.sampled_from(PORTS),
    encrypted=st.just(True),
    sni=st.sampled_from(("", "web.shop")),
    is_probe=st.just(False),
)
_header = st.tuples(
    st.sampled_from((b"x-a", b"x-b")), st.sampled_from([value.encode("latin-1") for value in HEADER_VALUES])
)
requests = st.builds(
    RequestFacts,
    method=st.sampled_from(METHODS).map(str.encode),
    host=st.sampled_from(("web", "web.shop", "")).map(str.encode),
    path=st.sampled_from((*PATHS, "/x")).map(str.encode),
    headers=st.lists(_header, max_size=3).map(tuple),
)


def _texts(*values: str) -> st.SearchStrategy[tuple[TextMatch, ...]]:
    exact = st.sampled_from(values).map(lambda value: TextMatch(value=value))
    prefix = st.sampled_from(values).map(lambda value: TextMatch(kind="prefix", value=value[:3]))
    suffix = st.sampled_from(values).map(lambda value: TextMatch(kind="suffix", value=value[-2:]))
    regex = st.sampled_from((".*o.*", "[a-z./]+", ".", ".+")).map(lambda value: TextMatch(kind="regex", value=value))
    present = st.just(TextMatch(kind="present"))
    return st.lists(exact | prefix | suffix | regex | present, max_size=2).map(tuple)


_none = st.just(())
_paths = _texts(*PATHS) | st.lists(
    st.sampled_from(("/foo/{*}", "/foo/{**}", "/{*}/bar")).map(lambda value: TextMatch(kind="template", value=value)),
    max_size=1,
).map(tuple)
_blocks = st.lists(st.sampled_from(BLOCKS), max_size=2).map(tuple)
_principals = _texts(*(SpiffeId(d, n, a).principal for d in DOMAINS for n in NAMESPACES for a in ACCOUNTS))
_accounts = st.lists(st.sampled_from([f"{n}/{a}" for n in NAMESPACES for a in ACCOUNTS]), max_size=2).map(tuple)

sources = st.builds(
    Source,
    principals=_none | _principals,
    not_principals=_none | _principals,
    namespaces=_none | _texts(*NAMESPACES),
    not_namespaces=_none | _texts(*NAMESPACES),
    service_accounts=_none | _accounts,
    not_service_accounts=_none | _accounts,
    ip_blocks=_none | _blocks,
    not_ip_blocks=_none | _blocks,
).filter(lambda source: source != Source())
operations = st.builds(
    Operation,
    hosts=_none | _texts(*HOSTS),
    not_hosts=_none | _texts(*HOSTS),
    ports=_none | st.lists(st.sampled_from(PORTS), max_size=1).map(tuple),
    not_ports=_none | st.lists(st.sampled_from(PORTS), max_size=1).map(tuple),
    methods=_none | _texts(*METHODS),
    not_methods=_none | _texts(*METHODS),
    paths=_none | _paths,
    not_paths=_none | _paths,
).filter(lambda operation: operation != Operation())


def _condition(key: str, values: st.SearchStrategy[tuple[TextMatch, ...]]) -> st.SearchStrategy[Condition]:
    made = st.builds(Condition, key=st.just(key), values=values, not_values=_none | values)
    return made.filter(lambda condition: bool(condition.values or condition.not_values))


_block_texts = st.lists(st.sampled_from(BLOCKS).map(lambda value: TextMatch(value=value)), max_size=2).map(tuple)
conditions = st.one_of(
    _condition("request.headers[X-A]", _texts("1", "12")),
    _condition("request.headers[x-b]", _texts("1", "2")),
    _condition("source.ip", _block_texts),
    _condition("destination.ip", _block_texts),
    _condition("destination.port", _texts("80", "8080")),
    _condition("source.namespace", _texts(*NAMESPACES)),
    _condition("source.serviceAccount", _texts("shop/a", "dev/b.c")),
    _condition("connection.sni", _texts("web.shop")),
)
rates = st.builds(
    RateLimit,
    requests_per_second=st.sampled_from((1.0, 10.0)),
    burst=st.sampled_from((1, 5)),
    per=st.sampled_from(("client", "total")),
)
rules = st.builds(
    Rule,
    sources=_none | st.lists(sources, max_size=2).map(tuple),
    operations=_none | st.lists(operations, max_size=2).map(tuple),
    conditions=_none | st.lists(conditions, max_size=2).map(tuple),
)
rated_rules = st.builds(
    Rule, operations=_none | st.lists(operations, max_size=1).map(tuple), rate_limit=st.none() | rates
)


def policies(name: str = "p") -> st.SearchStrategy[AuthorizationPolicy]:
    """Any policy under this name."""
    shared = {"namespace": st.just("shop"), "name": st.just(name), "dry_run": st.sampled_from((False, False, True))}
    invalid = st.sampled_from((None, None, None, None, None, None, None, "broken"))
    allow = st.builds(
        AuthorizationPolicy,
        **shared,
        action=st.just("ALLOW"),
        rules=st.lists(rules | rated_rules, max_size=3).map(tuple),
        invalid=invalid,
    )
    other = st.builds(
        AuthorizationPolicy,
        **shared,
        action=st.sampled_from(("DENY", "AUDIT")),
        rules=st.lists(rules, max_size=2).map(tuple),
        invalid=invalid,
    )
    return allow | other


policy_lists = st.integers(0, 4).flatmap(lambda count: st.tuples(*(policies(f"p{index}") for index in range(count))))
