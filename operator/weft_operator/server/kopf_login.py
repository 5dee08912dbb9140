"""Our credentials as kopf takes them."""

from collections.abc import Callable

import kopf

from weft_operator.access import Access


def kopf_login(access: Access) -> Callable[[], kopf.ConnectionInfo]:
    """Return what kopf asks at its start, and again when it was refused: by then a token may have been renewed."""

    def login() -> kopf.ConnectionInfo:
        found = access.read()
        return kopf.ConnectionInfo(
            server=found.server,
            ca_data=found.roots_pem or None,
            insecure=not found.verify,
            token=found.token or None,
            certificate_data=found.certificate_pem or None,
            private_key_data=found.key_pem or None,
        )

    return login
