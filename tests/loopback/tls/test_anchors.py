"""Bundles: what is usable is kept, everything else is named, and no domain can hide another's root."""

import ssl
from contextlib import suppress

import pytest

from weft_agent.tls import Anchors, read_anchors
from weft_testing import pki
from weft_testing.tls_peers import bare_context

OURS, OTHER = pki.TRUST_DOMAIN, "other.example"


def messages(problems: tuple[object, ...]) -> str:
    return "\n".join(map(str, problems))


def test_reads_domains_and_texts_of_several_roots() -> None:
    roots = [pki.root() for _ in range(4)]
    anchors, problems = read_anchors(
        {OURS: [roots[0].pem_text, roots[1].pem_text + roots[2].pem_text], OTHER: [roots[3].pem_text]}, OURS
    )
    assert not problems
    assert anchors.by_domain[OURS] == {root.der for root in roots[:3]}
    assert anchors.by_domain[OTHER] == {roots[3].der}
    assert dict(anchors.of(OTHER).by_domain) == {OTHER: {roots[3].der}}
    assert not anchors.of("unknown.example").by_domain
    for root in roots:
        assert root.der in anchors.concatenated()


def test_equal_roots_have_equal_digests() -> None:
    one, two = pki.root(), pki.root()
    digests = [
        read_anchors(bundles, OURS)[0].digest
        for bundles in (
            {OURS: [one.pem_text, two.pem_text]},
            {OURS: [two.pem_text + one.pem_text, one.pem_text]},
            {OURS: [one.pem_text]},
            {OTHER: [one.pem_text, two.pem_text]},
            {OURS: [one.pem_text], OTHER: [two.pem_text]},
        )
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 4
    assert Anchors().digest != digests[0]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "0 certificates"),
        ("garbage", "0 certificates"),
        ("-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n", "base64"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "malformed"),
        (pki.root().intermediate().pem_text, "intermediate"),
        (pki.root().issue().pem_text, "not an authority"),
        (pki.root(has_key_id=False).pem_text, "key identifier"),
        (pki.root(key=pki.rsa_key(1024)).pem_text, "1024 bits"),
        (pki.key_pem(pki.p256()).decode(), "only certificates"),
    ],
)
def test_names_what_cannot_be_used_and_keeps_the_rest(text: str, why: str) -> None:
    good = pki.root()
    anchors, problems = read_anchors({OURS: [good.pem_text, text]}, OURS)
    assert anchors.by_domain[OURS] == {good.der}
    assert len(problems) == 1
    assert why in messages(problems)
    assert problems[0].path == "$.roots[1]"
    assert problems[0].remedy
    anchors, problems = read_anchors({OURS: [text], OTHER: [good.pem_text]}, OURS)
    assert set(anchors.by_domain) == {OTHER}
    assert "no peer of this domain can be verified" in messages(problems)


def test_a_domain_falls_back_to_what_it_had() -> None:
    old = pki.root()
    before, _ = read_anchors({OURS: [old.pem_text]}, OURS)
    after, problems = read_anchors({OURS: ["garbage"]}, OURS, before)
    assert after.by_domain[OURS] == {old.der}
    assert "stay in force" in messages(problems)
    gone, problems = read_anchors({}, OURS, before)  # a bundle that is taken away is taken away
    assert not gone.by_domain
    assert not problems


def test_a_foreign_root_cannot_hide_ours() -> None:
    """OpenSSL tries one issuer per name and key identifier: a copy of both in another bundle would break our peers."""
    ours = pki.root("the root")
    double = pki.root("the root", subject_key_id=ours.key_id)
    honest = pki.root("the root")
    for own, kept in ((OURS, ours), (OTHER, double)):
        anchors, problems = read_anchors({OTHER: [double.pem_text, honest.pem_text], OURS: [ours.pem_text]}, own)
        assert kept.der in anchors.by_domain[own]
        assert "has the key identifier of a root of trust domain" in messages(problems)
        assert honest.der in anchors.by_domain[OTHER]
        assert sum(root in anchors.concatenated() for root in (ours.der, double.der)) == 1


def test_openssl_alone_lets_it_hide() -> None:
    """What the rule above is for: with both roots loaded, the order decides whether our own peers are let in."""
    ours = pki.root("the root")
    double = pki.root("the root", subject_key_id=ours.key_id)
    outcomes = []
    for order in ([ours, double], [double, ours]):
        server = bare_context(True, ours.issue(), trusts=order[0])
        server.load_verify_locations(cadata=order[1].pem_text)
        outcomes.append(lets_in(server, bare_context(False, ours.issue())))
    assert outcomes == [True, False]


def lets_in(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> bool:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    ends = [client, server]
    try:
        while ends:
            for end in list(ends):
                with suppress(ssl.SSLWantReadError):
                    end.do_handshake()
                    ends.remove(end)
    except ssl.SSLError:
        return False
    return True


def test_one_root_may_serve_two_domains() -> None:
    """It hides nothing: whoever put it into both bundles meant it."""
    root = pki.root()
    anchors, problems = read_anchors({OURS: [root.pem_text], OTHER: [root.pem_text]}, OURS)
    assert not problems
    assert anchors.by_domain == {OURS: {root.der}, OTHER: {root.der}}
    assert anchors.concatenated() == root.der


def test_a_root_certified_again_replaces_its_older_self() -> None:
    key = pki.p256()
    older = pki.root("again", key=key, ends_in_s=1000.0)
    newer = pki.root("again", key=key, ends_in_s=2000.0)
    for texts in ([older.pem_text, newer.pem_text], [newer.pem_text, older.pem_text]):
        anchors, problems = read_anchors({OURS: texts}, OURS)
        assert anchors.by_domain[OURS] == {newer.der}
        assert not problems
