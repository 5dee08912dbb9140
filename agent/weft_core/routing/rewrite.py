"""What is done to heads on their way: a request's target, fields and host, a response's fields, and redirects.

All are pure functions on bytes. What they put together was checked when the route was compiled; what comes from the request
(path, query, host) was made canonical by the parser before it was routed.
"""

from dataclasses import dataclass
from typing import Final

from weft_core.routing.outcome import Forward, RedirectTo

WELL_KNOWN_PORTS: Final = {"http": 80, "https": 443}


def apply_request(forward: Forward, target: bytes, block: bytes, host: bytes) -> tuple[bytes, bytes, bytes]:
    """Change a request as its rule and backend say.

    Args:
        forward: where it goes.
        target: canonical path, with `?` and the query where there is one; `*` stays as it is.
        block: field lines, each ending in CRLF, Host among them.
        host: value of the Host field.

    Returns:
        Target, block and host to forward; the very same objects where nothing changes.
    """
    if forward.edits is None:
        return target, block, host
    return forward.edits.apply(target, block, host)


def apply_response(outcome: Forward | RedirectTo, block: bytes) -> bytes:
    """Change the field lines of a response as backend and rule say.

    Args:
        outcome: what the request came to.
        block: field lines, each ending in CRLF.
    """
    for edits in outcome.response_edits:
        block = edits.apply(block)
    return block


@dataclass(frozen=True, slots=True)
class RedirectResponse:
    """Status and `Location` of a redirect."""

    status: int
    location: bytes


def redirect_response(
    outcome: RedirectTo, *, target: bytes, host: bytes, port: int, scheme: str = "http"
) -> RedirectResponse:
    """Make the answer of a redirect.

    Args:
        outcome: what the rule says.
        target: canonical path of the request, with `?` and the query where there is one.
        host: canonical host of the request, without port; an IPv6 address with or without its brackets.
        port: the port that was called: the listener's port, in the words of the Gateway API.
        scheme: scheme of the request.

    Source: Gateway API v1, HTTPRequestRedirectFilter: without a port of its own a redirect with a scheme goes to the
    scheme's well-known port, one without to the port that was called; a scheme's own port is not written.
    """
    redirect = outcome.redirect
    to_scheme = redirect.scheme or scheme
    to_port = redirect.port or (WELL_KNOWN_PORTS.get(to_scheme, port) if redirect.scheme else port)
    to_host = redirect.hostname.encode() if redirect.hostname else host
    if b":" in to_host and not to_host.startswith(b"["):
        to_host = b"[" + to_host + b"]"
    path, mark, query = target.partition(b"?")
    if outcome.path is not None:
        path = outcome.path.apply(path)
    if not path.startswith(b"/"):  # OPTIONS *: there is no path to go to
        path = b"/"
    authority = to_host if to_port == WELL_KNOWN_PORTS.get(to_scheme) else b"%s:%d" % (to_host, to_port)
    return RedirectResponse(redirect.status, to_scheme.encode() + b"://" + authority + path + mark + query)
