"""`python -m manifests.image`: `build` makes the images as OCI archives, `lock` renews debian.lock, `rootfs` writes a tree."""

import argparse
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from manifests.image.bytecode import BytecodeError
from manifests.image.debian import ARCHITECTURES, MIRROR, Apt, DebianError, Locked, read_lock, write_lock
from manifests.image.layers import ROOT, ImageError, Workshop, version
from manifests.image.oci import write_archive
from manifests.image.recipes import BASE, BASE_LEFT_OUT, BASE_PACKAGES, LEFT_OUT, RECIPES, SUITE
from manifests.image.tree import read_tar, write_folder
from manifests.image.wheels import WheelError

DEFAULT_OUT: Final = ROOT / "dist" / "images"


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command and return its exit status."""
    options = _parser().parse_args(argv)
    try:
        match options.command:
            case "lock":
                write_lock(resolve(options.cache, tuple(sorted(ARCHITECTURES.values())), options.mirror))
            case "rootfs":
                for layer in _workshop(options).layers(RECIPES[options.image]):
                    write_folder(read_tar(layer.tar), options.directory)
            case _:
                build(options)
    except (ImageError, DebianError, WheelError, BytecodeError, OSError) as exc:
        sys.stderr.write(f"error: {exc}\n")
        return 1
    return 0


def build(options: argparse.Namespace) -> None:
    """Make images and print name, digest, size and file of each."""
    options.out.mkdir(parents=True, exist_ok=True)
    workshop = _workshop(options)
    for name in options.images or sorted(RECIPES):
        image = workshop.image(RECIPES[name], options.tag)
        path = options.out / f"weft-{name}.tar"
        digest = write_archive(image, path, compress=options.gzip)
        print(f"{image.name} {digest} {path.stat().st_size / 2**20:.0f} MiB {path}")


def resolve(cache: Path, architectures: Sequence[str], mirror: str) -> list[Locked]:
    """Return what the archive has now for every set.

    Raises:
        DebianError: apt cannot.
    """
    found: list[Locked] = []
    for architecture in architectures:
        apt = Apt(cache / "apt", SUITE, architecture, mirror)
        base = apt.resolve(BASE_PACKAGES)
        sets = {BASE: {name: text for name, text in base.items() if name not in BASE_LEFT_OUT}}
        for recipe in RECIPES.values():
            if recipe.tools:
                closure = apt.resolve((*BASE_PACKAGES, *recipe.tools))
                sets[recipe.name] = {k: v for k, v in closure.items() if k not in base or k in recipe.tools}
        found += [
            Locked(group, architecture, package, text, apt.sha256(package, text))
            for group, packages in sets.items()
            for package, text in packages.items()
            if package not in LEFT_OUT
        ]
    return found


def _workshop(options: argparse.Namespace) -> Workshop:
    architecture = ARCHITECTURES.get(platform.machine())
    if architecture is None:
        raise ImageError(f"images are made on {' or '.join(ARCHITECTURES)}, not on {platform.machine()}")
    apt = Apt(options.cache / "apt", SUITE, architecture, options.mirror)
    workshop = Workshop(options.cache, apt, read_lock(), architecture)
    if options.allow_newer:
        try:
            for recipe in RECIPES.values():
                workshop.layers(recipe)
        except DebianError as exc:
            sys.stderr.write(f"note: the locked packages cannot be had, taking what the archive has now\n  {exc}\n")
            newer = tuple(resolve(options.cache, (architecture,), options.mirror))
            return Workshop(options.cache, apt, newer, architecture)
    return workshop


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m manifests.image", description=__doc__)
    parser.add_argument("--cache", type=Path, default=_cache(), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--mirror", default=MIRROR, metavar="URL", help="Debian archive (default: %(default)s)")
    parser.add_argument(
        "--allow-newer", action="store_true", help="if the mirror has dropped a locked version, take its newest"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("build", help="make images as OCI archives")
    making.add_argument("images", nargs="*", metavar="IMAGE", help=f"of {', '.join(RECIPES)} (default: all)")
    making.add_argument("--out", type=Path, default=DEFAULT_OUT, metavar="DIR", help="default: %(default)s")
    making.add_argument("--tag", default=version(), help="default: the version, %(default)s")
    making.add_argument(
        "--gzip", action="store_true", help="compress layers; the digest then depends on this machine's zlib"
    )
    commands.add_parser("lock", help="write debian.lock from what the archive has now")
    tree = commands.add_parser("rootfs", help="write an image's files into a directory")
    tree.add_argument("image", choices=sorted(RECIPES))
    tree.add_argument("directory", type=Path)
    return parser


def _cache() -> Path:
    if "WEFT_CACHE" in os.environ:
        return Path(os.environ["WEFT_CACHE"]) / "image"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weft" / "image"


if __name__ == "__main__":
    sys.exit(main())
