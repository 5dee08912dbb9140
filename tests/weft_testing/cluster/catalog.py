"""The images of the cluster tests, and their archives, which are kept in the cache."""

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from weft_testing.cluster.binaries import cache_root
from weft_testing.cluster.images import Copied, Entry, Image, Linked, Written, make_image
from weft_testing.cluster.node_files import PAUSE_IMAGE
from weft_testing.cluster.programs import PROGRAMS

PROBE_IMAGE: Final = "weft.test/probe:1"
"""A shell, its usual tools, and `probe` (see modules/images/probe): client and server of the tests."""
COREDNS_IMAGE: Final = f"registry.k8s.io/coredns/coredns:{PROGRAMS['coredns'].version}"
ECHO_IMAGE: Final = "registry.k8s.io/gateway-api/echo-advanced:v1.5.1"
"""What Gateway API's conformance suite v1.6 deploys: `server` and `client` of Istio's echo application."""
_BUSYBOX: Final = Path("/bin/busybox")
_APPLETS: Final = (
    "sh", "cat", "ls", "ip", "ps", "id", "env", "sleep", "echo", "mkdir", "grep", "head", "tail", "wc", "dd", "touch", "rm",
    "hostname", "nc", "kill", "true", "false", "stat", "sha256sum", "test", "seq", "date", "mount", "cp", "mv", "ln", "find",
)  # fmt: skip
_PASSWD: Final = b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"
_ECHO_USER: Final = 1338
_PT_INTERP: Final = 3


class CatalogError(Exception):
    """An image lacks an ingredient; the message says which package has it."""


def pause_image(programs: Mapping[str, Path]) -> Image:
    """Return the image that holds a pod's namespaces."""
    return Image(name=PAUSE_IMAGE, files={"pause": Copied(programs["pause"])}, entrypoint=["/pause"])


def coredns_image(programs: Mapping[str, Path]) -> Image:
    """Return the image of the cluster's DNS."""
    files: dict[str, Entry] = {"coredns": Copied(programs["coredns"]), "etc/passwd": Written(_PASSWD)}
    return Image(name=COREDNS_IMAGE, files=files, entrypoint=["/coredns"])


def probe_image(programs: Mapping[str, Path]) -> Image:
    """Return the image of the tests' own pods.

    Raises:
        CatalogError: there is no busybox that runs without the machine's libraries.
    """
    if not _BUSYBOX.is_file() or not _is_static(_BUSYBOX.read_bytes()):
        raise CatalogError(
            f"{_BUSYBOX} is missing or needs libraries; Debian's package busybox-static has one that does not"
        )
    files: dict[str, Entry] = {f"bin/{applet}": Linked("busybox") for applet in _APPLETS}
    files |= {
        "bin/busybox": Copied(_BUSYBOX),
        "bin/probe": Copied(programs["probe"]),
        "etc/passwd": Written(_PASSWD),
    }
    return Image(name=PROBE_IMAGE, files=files, command=["probe", "wait"], environment={"PATH": "/bin"})


def echo_image(programs: Mapping[str, Path], certificate: bytes, key: bytes) -> Image:
    """Return the image that Gateway API's conformance suite expects.

    Args:
        programs: with `echo-server` and `echo-client`.
        certificate: for its HTTPS port, PEM.
        key: to the certificate, PEM.
    """
    user = f"application:x:{_ECHO_USER}:{_ECHO_USER}::/:/bin/sh\n".encode()
    files: dict[str, Entry] = {
        "usr/local/bin/server": Copied(programs["echo-server"]),
        "usr/local/bin/client": Copied(programs["echo-client"]),
        "cert.crt": Written(certificate),
        "cert.key": Written(key, owner=_ECHO_USER),
        "etc/passwd": Written(_PASSWD + user),
    }
    return Image(
        name=ECHO_IMAGE,
        files=files,
        entrypoint=["/usr/local/bin/server"],
        environment={"PATH": "/usr/local/bin:/bin"},
        user=str(_ECHO_USER),
    )


def archive_of(image: Image) -> Path:
    """Return an image's archive, made if the cache has none of the same ingredients."""
    folder = cache_root() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"{_ingredients(image)}.tar"
    if not archive.is_file():
        make_image(image, archive)
    return archive


def _is_static(program: bytes) -> bool:
    """Tell whether a 64-bit ELF file asks for no interpreter (PT_INTERP, elf(5)), which would load libraries for it."""
    if program[:5] != b"\x7fELF\x02":
        return False
    offset, size, number = (*struct.unpack_from("<Q", program, 32), *struct.unpack_from("<HH", program, 54))
    headers = (struct.unpack_from("<I", program, offset + index * size)[0] for index in range(number))
    return _PT_INTERP not in headers


def _ingredients(image: Image) -> str:
    """Return a digest of what an image is made of; a program's path has its version, so size and time stand for content."""
    digest = hashlib.sha256(repr(replace(image, files={})).encode())
    for name, entry in sorted(image.files.items()):
        digest.update(f"{name}\0{entry!r}\0".encode())
        if isinstance(entry, Copied):
            status = entry.source.stat()
            digest.update(f"{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:32]
