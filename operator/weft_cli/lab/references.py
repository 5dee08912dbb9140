"""Reading what a command line names: `pods`, `pod NAME NAME`, `pod/NAME deploy/NAME`, `pods,services`."""

from typing import Final

from weft_cli.exits import USAGE
from weft_cli.output import CommandError
from weft_contract.labels import SLICE_SERVICE_LABEL
from weft_lab.model import kind_for
from weft_lab.protocol import Reference

ENDPOINTS: Final = frozenset({"endpoints", "ep"})
"""Words for slices by their Service."""


def references(
    words: tuple[str, ...], namespace: str | None, selector: dict[str, str], *, needs_name: bool = False
) -> tuple[Reference, ...]:
    """Return what the words name.

    Args:
        words: as on the command line.
        namespace: where to look; None for all namespaces.
        selector: labels that the objects must have.
        needs_name: refuse a kind without a name, which would mean all of it.

    Raises:
        CommandError: a kind that the lab does not have, or a mixture of both forms.
    """
    if any("/" in word for word in words):
        return tuple(_slashed(word, namespace, selector) for word in words)
    kinds, names = words[0].split(","), words[1:]
    for kind in kinds:
        check_kind(kind)
    if names:
        return tuple(_reference(kind, namespace, name, selector) for kind in kinds for name in names)
    if needs_name:
        raise CommandError(f"name the {words[0]}, or give --all or -l", USAGE)
    return tuple(Reference(kind=kind, namespace=namespace, selector=selector) for kind in kinds)


def check_kind(word: str) -> None:
    """See whether the lab has a kind.

    Raises:
        CommandError: it has not.
    """
    if kind_for(word) is None:
        raise CommandError(f'the lab doesn\'t have a resource type "{word}"', USAGE)


def _slashed(word: str, namespace: str | None, selector: dict[str, str]) -> Reference:
    kind, slash, name = word.partition("/")
    if not slash or not kind or not name:
        raise CommandError(f"{word!r}: give all objects as KIND/NAME, or one KIND and then names", USAGE)
    check_kind(kind)
    return _reference(kind, namespace, name, selector)


def _reference(kind: str, namespace: str | None, name: str, selector: dict[str, str]) -> Reference:
    """Return a reference by name; endpoints are named by their Service, as people know them."""
    if kind.lower() in ENDPOINTS:
        return Reference(kind=kind, namespace=namespace, selector=selector | {SLICE_SERVICE_LABEL: name})
    return Reference(kind=kind, namespace=namespace, name=name, selector=selector)
