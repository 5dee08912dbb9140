"""What is in each image: Debian packages, Python packages, our own packages, programs. Data only.

Theory. An image has four layers, from what changes least to what changes most: the interpreter with the C library, tools of
this image, locked Python packages, Weft. The first is the same in every image, so a node stores it once.

Nothing gets in that is not named here: the closure of Debian packages is taken without those of `LEFT_OUT` (package
management, terminals, Berkeley DB), and the builder checks that every shared library that any file asks for is there. No
shell, no package manager, no setuid file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

REGISTRY: Final = "weft.dev"
SUITE: Final = "bookworm"
PYTHON: Final = "3.11"
"""Debian's is built with profile-guided and link-time optimisation."""
SITE: Final = "usr/lib/python3/dist-packages"
"""Where Debian's interpreter looks for packages."""
NONROOT: Final = 65532
"""User and group that distroless images call `nonroot`; the webhook starts the gate with the same number."""
WORKER: Final = 65534
"""User of the agent's workers."""

BASE: Final = "python"
"""Name of the first layer's set of Debian packages; the tools of an image have its name."""
BASE_PACKAGES: Final = ("libpython3.11-stdlib", "libstdc++6", "python3.11-minimal")
"""`libstdc++6` is for google-re2."""

BASE_LEFT_OUT: Final[Mapping[str, str]] = {
    "dpkg": "package management",
    "libacl1": "tar's",
    "libcom-err2": "Kerberos, for NIS",
    "libdb5.3": "Berkeley DB, for the module dbm",
    "libgssapi-krb5-2": "Kerberos, for NIS",
    "libk5crypto3": "Kerberos, for NIS",
    "libkeyutils1": "Kerberos, for NIS",
    "libkrb5-3": "Kerberos, for NIS",
    "libkrb5support0": "Kerberos, for NIS",
    "libmd0": "dpkg's",
    "libncursesw6": "terminals",
    "libnsl2": "NIS",
    "libpcre2-8-0": "dpkg's",
    "libreadline8": "terminals",
    "libselinux1": "dpkg's",
    "libtinfo6": "terminals",
    "libtirpc-common": "NIS",
    "libtirpc3": "NIS",
    "libzstd1": "dpkg's",
    "media-types": "a table of file name endings",
    "readline-common": "terminals",
    "tar": "dpkg's",
}
"""Packages that the interpreter depends on in Debian's eyes and that stay out, with why they would be there."""
LEFT_OUT: Final[Mapping[str, str]] = {"gcc-12-base": "documentation only"}
"""The same for every set."""

BASE_WITHOUT: Final = (
    "etc/python3.11/",
    "usr/bin/pdb3.11",
    "usr/bin/pydoc3.11",
    "usr/bin/pygettext3.11",
    "usr/lib/*/audit/",
    "usr/lib/*/gconv/",
    "usr/lib/*/libmemusage.so",
    "usr/lib/*/libpcprofile.so",
    "usr/lib/python3.11/__phello__/",
    "usr/lib/python3.11/curses/",
    "usr/lib/python3.11/ensurepip/",
    "usr/lib/python3.11/idlelib/",
    "usr/lib/python3.11/lib-dynload/_curses*.so",
    "usr/lib/python3.11/lib-dynload/_dbm*.so",
    "usr/lib/python3.11/lib-dynload/_test*.so",
    "usr/lib/python3.11/lib-dynload/_xx*.so",
    "usr/lib/python3.11/lib-dynload/nis*.so",
    "usr/lib/python3.11/lib-dynload/readline*.so",
    "usr/lib/python3.11/lib2to3/",
    "usr/lib/python3.11/pydoc_data/",
    "usr/lib/python3.11/sitecustomize.py",
    "usr/lib/python3.11/test/",
    "usr/lib/python3.11/tkinter/",
    "usr/lib/python3.11/turtle*",
    "usr/sbin/",
    "usr/share/",
    "var/",
)
"""Files of the first layer's packages that stay out; a trailing slash means all below. Licences are kept, see `KEPT`."""

KEPT: Final = ("usr/share/doc/*/copyright",)
"""What stays in whatever is said about files that stay out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One image."""

    name: str
    title: str
    tools: tuple[str, ...] = ()
    """Debian packages beside the first layer's, with those of `BASE_LEFT_OUT` that they do need."""
    tools_without: tuple[str, ...] = ()
    """Files of these that stay out."""
    extra: str = ""
    """Extra of the distribution whose locked packages are installed; empty: only `requirements`."""
    requirements: tuple[str, ...] = ()
    """Locked packages wanted beside it."""
    packages: tuple[str, ...]
    """Packages and modules of ours, as paths below `agent/`, `operator/` or `iptables/`."""
    programs: tuple[str, ...]
    """Console scripts of the distribution; the first is the entry point."""
    user: int = NONROOT
    command: tuple[str, ...] = ()
    """Arguments where nobody gives others."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Symbolic links by path, as packages' own scripts make them when they are installed."""


_XTABLES: Final = (
    *((f"usr/sbin/{name}", "xtables-nft-multi") for name in ("iptables", "ip6tables")),
    *((f"usr/sbin/{name}-restore", "xtables-nft-multi") for name in ("iptables", "ip6tables")),
    *((f"usr/sbin/{name}-save", "xtables-nft-multi") for name in ("iptables", "ip6tables")),
)

RECIPES: Final[Mapping[str, Recipe]] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="agent",
            title="Weft: the agent of a node, and the capture gate of its pods",
            tools=("iptables", "ipset", "libmd0", "libtinfo6", "nftables"),
            tools_without=(
                "etc/",
                "lib/systemd/",
                "usr/bin/",
                "usr/share/",
                "usr/lib/systemd/",
                "usr/sbin/*-apply",
                "usr/sbin/nfnl_osf",
                "var/",
            ),
            extra="agent",
            packages=("weft_agent", "weft_contract", "weft_core", "weft_iptables"),
            programs=("weft-agent",),
            user=0,
            links=dict(_XTABLES),
        ),
        Recipe(
            name="operator",
            title="Weft: the control plane",
            extra="operator",
            packages=("weft_contract", "weft_core", "weft_operator"),
            programs=("weft-operator",),
        ),
        Recipe(
            name="demo",
            title="Weft: programs for pods of the examples",
            tools=(
                "curl",
                "libcom-err2",
                "libgssapi-krb5-2",
                "libk5crypto3",
                "libkeyutils1",
                "libkrb5-3",
                "libkrb5support0",
                "libzstd1",
            ),
            tools_without=(
                "etc/",
                "lib/systemd/",
                "usr/bin/c_rehash",
                "usr/bin/openssl",
                "usr/lib/*/sasl2/",
                "usr/share/",
                "var/",
            ),
            requirements=("h11",),
            packages=("weft_lab/__init__.py", "weft_lab/demo"),
            programs=("weft-demo",),
        ),
    )
}
