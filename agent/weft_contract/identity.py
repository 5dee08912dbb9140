"""Trust domains and SPIFFE names: one exact grammar, parsed by hand, compared as strings and never by pattern.

Theory: an identity is `spiffe://<trust domain>/ns/<namespace>/sa/<service account>` and nothing else. Python's `ssl`
accepts a certificate with upper-case domains, `..`, `%61` or NUL in the URI, so the grammar is enforced here, once, for
certificates, policies and config alike.

Source: SPIFFE-ID §2 (trust domain 1-255 of `[a-z0-9._-]`, path segments of `[a-zA-Z0-9._-]`, no `.` or `..` segment, no
trailing slash, no percent-encoding, at most 2048 bytes); Kubernetes names (RFC 1123 label for a namespace, RFC 1123
subdomain for a service account).
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

MAX_ID_BYTES: Final = 2048
_TRUST_DOMAIN: Final = re.compile(r"[a-z0-9._-]{1,255}")
_SEGMENT: Final = re.compile(r"[a-zA-Z0-9._-]+")
_NAMESPACE: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SERVICE_ACCOUNT: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_SCHEME: Final = "spiffe://"


class IdentityGrammarError(ValueError):
    """The text is not an identity of ours; the message says which rule it breaks."""


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """A workload's identity; equal exactly when the text is equal."""

    trust_domain: str
    namespace: str
    service_account: str

    def __str__(self) -> str:
        """Give the URI form, `spiffe://…`."""
        return f"{_SCHEME}{self.trust_domain}/ns/{self.namespace}/sa/{self.service_account}"

    @property
    def principal(self) -> str:
        """The form policies write: the URI without its scheme."""
        return f"{self.trust_domain}/ns/{self.namespace}/sa/{self.service_account}"


def check_trust_domain(text: str) -> str:
    """Return `text` if it is a trust domain name.

    Raises:
        IdentityGrammarError: it is empty, too long, or has a character outside `[a-z0-9._-]`.
    """
    if not _TRUST_DOMAIN.fullmatch(text):
        raise IdentityGrammarError(f"trust domain {text!r:.80} must be 1-255 characters of a-z, 0-9, '.', '-', '_'")
    return text


def spiffe_id(trust_domain: str, namespace: str, service_account: str) -> SpiffeId:
    """Build an identity from its parts.

    Raises:
        IdentityGrammarError: a part breaks its grammar.
    """
    check_trust_domain(trust_domain)
    if not _NAMESPACE.fullmatch(namespace):
        raise IdentityGrammarError(f"namespace {namespace!r:.80} is not an RFC 1123 label")
    if len(service_account) > 253 or not _SERVICE_ACCOUNT.fullmatch(service_account):
        raise IdentityGrammarError(f"service account {service_account!r:.80} is not an RFC 1123 subdomain")
    return SpiffeId(trust_domain, namespace, service_account)


@lru_cache(maxsize=4096)
def parse_spiffe_id(uri: str) -> SpiffeId:
    """Parse the URI form.

    Raises:
        IdentityGrammarError: anything but `spiffe://<td>/ns/<namespace>/sa/<service account>`, byte for byte.
    """
    if len(uri) > MAX_ID_BYTES:
        raise IdentityGrammarError(f"SPIFFE ID is longer than {MAX_ID_BYTES} bytes")
    if not uri.startswith(_SCHEME):
        raise IdentityGrammarError(f"{uri!r:.80} does not begin with {_SCHEME}")
    trust_domain, *segments = uri[len(_SCHEME) :].split("/")
    for segment in segments:
        if not _SEGMENT.fullmatch(segment) or segment in {".", ".."}:
            raise IdentityGrammarError(f"{uri!r:.120} has an empty, dotted or escaped path segment")
    if len(segments) != 4 or segments[0] != "ns" or segments[2] != "sa":
        raise IdentityGrammarError(f"{uri!r:.120} is not of the form {_SCHEME}<domain>/ns/<namespace>/sa/<account>")
    return spiffe_id(trust_domain, segments[1], segments[3])
