"""Names as Kubernetes and DNS have them: labels and subdomains of RFC 1123, in lower case.

Source: RFC 1123 §2.1, Kubernetes `apimachinery` validation (label at most 63 characters, subdomain at most 253).
"""

import re
from typing import Final

MAX_SUBDOMAIN: Final = 253
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def is_label(text: str) -> bool:
    """Whether a text can be a namespace: one label."""
    return _LABEL.fullmatch(text) is not None


def is_subdomain(text: str) -> bool:
    """Whether a text can be an object's name, a node's or a host's: labels joined by dots. Never a path."""
    return len(text) <= MAX_SUBDOMAIN and _SUBDOMAIN.fullmatch(text) is not None
