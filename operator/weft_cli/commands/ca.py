"""`weft ca`: the development authority of `weft_operator.ca.development`, for plain hosts and tests."""

import functools
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import click

from weft_cli.duration import Duration
from weft_cli.output import CommandError, print_table
from weft_contract.limits import DEFAULT_LIMITS

P = ParamSpec("P")
R = TypeVar("R")

_TTL_S: Final = DEFAULT_LIMITS.certificate_ttl_s
_directory = click.option(
    "--ca",
    "directory",
    required=True,
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="the authority",
)
_out = click.option(
    "-o",
    "--output",
    "out",
    required=True,
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="identity directory, as `weft-agent run --identity` reads it",
)


def _ca_errors(function: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        from weft_operator.ca import CaError

        try:
            return function(*args, **kwargs)
        except CaError as exc:
            raise CommandError(str(exc)) from exc

    return guarded


@click.group()
def ca() -> None:
    """Keep a certificate authority in a directory: for laboratories and plain hosts, where no operator issues.

    Whoever can read the directory can be anybody in the mesh.
    """


@ca.command()
@_directory
@click.option("--trust-domain", default="cluster.local", show_default=True, metavar="DOMAIN")
@_ca_errors
def init(directory: Path, trust_domain: str) -> None:
    """Make an authority in an empty directory."""
    from weft_operator.ca import development

    root = development.init(directory, now_unix_s=time.time(), trust_domain=trust_domain)
    click.echo(
        f"authority of {trust_domain} in {directory}, root {root.name} valid until {_day(root.not_after_unix_s)}"
    )


@ca.command()
@click.argument("accounts", nargs=-1, required=True, metavar="NAMESPACE/ACCOUNT…")
@_directory
@_out
@click.option("--ttl", "ttl_s", type=Duration(), default=_TTL_S, metavar="TIME", help="lifetime (default 24h)")
@_ca_errors
def issue(accounts: tuple[str, ...], directory: Path, out: Path, ttl_s: float) -> None:
    """Issue certificates for service accounts, with new keys, and put them with the roots into an identity directory."""
    from weft_operator.ca import development

    pairs = [_account(text) for text in accounts]
    for namespace, account in pairs:
        issued = development.issue(directory, namespace, account, out, now_unix_s=time.time(), ttl_s=ttl_s)
        click.echo(f"{issued.identity} in {issued.path}, valid until {_moment(issued.not_after_unix_s)}")


@ca.command()
@_directory
@_out
@_ca_errors
def bundle(directory: Path, out: Path) -> None:
    """Write the roots alone into an identity directory."""
    from weft_operator.ca import development

    click.echo(str(development.write_bundle(directory, out)))


@ca.command()
@_directory
@_ca_errors
def roots(directory: Path) -> None:
    """Show the roots of the bundle."""
    from weft_operator.ca import development

    rows = [
        (root.name, _day(root.not_after_unix_s), "yes" if root.signs else "no")
        for root in development.list_roots(directory)
    ]
    print_table(("ROOT", "VALID UNTIL", "SIGNS"), rows)


@ca.command("add-root")
@_directory
@_ca_errors
def add_root(directory: Path) -> None:
    """Begin a rotation: a second root joins the bundle and signs nothing yet."""
    from weft_operator.ca import development

    root = development.add_root(directory, now_unix_s=time.time())
    click.echo(f"root {root.name} is in the bundle; once every node has it: weft ca sign-with {root.name}")


@ca.command("sign-with")
@click.argument("root")
@_directory
@_ca_errors
def sign_with(root: str, directory: Path) -> None:
    """Let another root of the bundle sign from now on."""
    from weft_operator.ca import development

    development.sign_with(directory, root, now_unix_s=time.time())
    click.echo(f"root {root} signs; once all certificates are issued again: weft ca retire-root for the old one")


@ca.command("retire-root")
@click.argument("root")
@_directory
@_ca_errors
def retire_root(root: str, directory: Path) -> None:
    """End a rotation: a root leaves the bundle, and what was issued below it is refused from then on."""
    from weft_operator.ca import development

    development.retire_root(directory, root)
    click.echo(f"root {root} left the bundle; write it to the nodes: weft ca bundle")


def _account(text: str) -> tuple[str, str]:
    namespace, slash, account = text.partition("/")
    if not slash or not namespace or not account:
        raise click.UsageError(f"{text!r} must be of the form NAMESPACE/ACCOUNT, as shop/web")
    return namespace, account


def _day(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d")


def _moment(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
