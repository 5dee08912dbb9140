"""A certificate and its key out of memory into a TLS context: the ssl module takes them from files only.

The file is one in memory, without a name in any directory: a container with a read-only root has no other place, and no
other process can read it.

Source: memfd_create(2).
"""

import os
import ssl


def load_pair(context: ssl.SSLContext, certificate_pem: str, key_pem: str) -> None:
    """Present a certificate in connections made from now on.

    Raises:
        ssl.SSLError: the two are no certificate and its key.
    """
    fd = os.memfd_create("weft-pair", os.MFD_CLOEXEC)
    try:
        with os.fdopen(fd, "w", closefd=False) as file:
            file.write(f"{certificate_pem.strip()}\n{key_pem.strip()}\n")
        context.load_cert_chain(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
