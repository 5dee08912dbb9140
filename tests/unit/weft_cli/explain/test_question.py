"""Reading FROM and TO: every form that is offered, and what is refused with which words."""

import pytest

from weft_cli.explain.question import Named, Target, read_caller, read_target
from weft_cli.output import CommandError


def named(namespace: str, kind: str, name: str) -> Named:
    return Named(namespace=namespace, kind=kind, name=name)  # type: ignore[arg-type] # one of the words


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("web", named("here", "", "web")),
        ("shop/web", named("shop", "", "web")),
        ("deploy/web", named("here", "workload", "web")),
        ("pod/web-0", named("here", "pod", "web-0")),
        ("shop/sts/db", named("shop", "workload", "db")),
    ],
)
def test_callers(word: str, expected: Named) -> None:
    assert read_caller(word, "here") == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("shop/web", Target(named=named("shop", "", "web"))),
        ("shop/web:8080", Target(named=named("shop", "", "web"), port=8080)),
        ("svc/web:80", Target(named=named("here", "service", "web"), port=80)),
        ("10.96.0.1:80", Target(named=None, address="10.96.0.1", port=80)),
        ("[fd00::1]:443", Target(named=None, address="fd00::1", port=443)),
        ("http://web", Target(named=named("here", "service", "web"), port=80, host="web", path="/")),
        (
            "http://web.shop.svc.cluster.local:8080/a?b=c",
            Target(
                named=named("shop", "service", "web"), port=8080, host="web.shop.svc.cluster.local:8080", path="/a?b=c"
            ),
        ),
        ("http://10.0.0.1/x", Target(named=None, address="10.0.0.1", port=80, host="10.0.0.1", path="/x")),
    ],
)
def test_targets(word: str, expected: Target) -> None:
    assert read_target(word, "here") == expected


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("a/b/c/d", "write it as"),
        ("Web", "write it as"),
        ("", "write it as"),
        ("web:99999", "is not a port"),
        ("10.0.0.1", "needs a port"),
        ("ftp://web/", "http:// or https://"),
        ("http://www.example.org/", "not the name of a Service"),
        ("http://web:port/", "port"),
    ],
)
def test_what_is_no_target_is_refused_with_a_remedy(word: str, said: str) -> None:
    with pytest.raises(CommandError, match=said) as caught:
        read_target(word, "here")
    assert caught.value.status == 2


def test_a_service_calls_nobody() -> None:
    with pytest.raises(CommandError, match="calls nobody"):
        read_caller("svc/web", "here")
