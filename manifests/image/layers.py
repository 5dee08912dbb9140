"""From a recipe to an image: four layers, each cached by all that goes into it, checked together before they are used.

Theory. A layer is made of inputs that can be named: locked packages, files of this checkout, the code of this builder. Their
digest names its tar in the cache, so an image whose sources alone changed costs a second. What an earlier layer has, a later
one does not bring again.
"""

import hashlib
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from manifests.image import debian, wheels
from manifests.image.bytecode import with_bytecode
from manifests.image.debian import Apt, Locked
from manifests.image.elf import missing_libraries
from manifests.image.oci import Image, Layer
from manifests.image.recipes import (
    BASE,
    BASE_WITHOUT,
    KEPT,
    NONROOT,
    PYTHON,
    REGISTRY,
    SITE,
    WORKER,
    Recipe,
)
from manifests.image.tree import File, Folder, Link, Tree, matches, read_tar, write_tar

ROOT: Final = Path(__file__).resolve().parents[2]
"""The checkout."""
_OURS: Final = (".py", ".yaml", ".nft", "py.typed")
_PASSWD: Final = (
    f"root:x:0:0:root:/:/\nnonroot:x:{NONROOT}:{NONROOT}:nonroot:/:/\nnobody:x:{WORKER}:{WORKER}:nobody:/:/\n"
)
_GROUP: Final = f"root:x:0:\nnonroot:x:{NONROOT}:\nnogroup:x:{WORKER}:\n"
_NSSWITCH: Final = "hosts: files dns\n"
_PROGRAM: Final = """\
#!/usr/bin/python{python} -I
import sys
from {module} import {function}
sys.exit({function}())
"""


class ImageError(Exception):
    """An image cannot be made; the message says why."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """What images are made with."""

    cache: Path
    apt: Apt
    locked: tuple[Locked, ...]
    architecture: str
    """Debian's name for it."""

    def image(self, recipe: Recipe, tag: str) -> Image:
        """Return an image.

        Raises:
            ImageError: a library that something in it asks for is missing.
            DebianError, WheelError, BytecodeError: an ingredient cannot be had.
        """
        layers = self.layers(recipe)
        whole: Tree = {}
        for layer in layers:
            whole |= read_tar(layer.tar)
        if missing := missing_libraries(whole):
            raise ImageError(f"image {recipe.name} lacks {missing}; add their packages to its recipe's tools")
        return Image(
            name=f"{REGISTRY}/{recipe.name}:{tag}",
            architecture=self.architecture,
            layers=layers,
            entrypoint=[f"/usr/bin/{recipe.programs[0]}"],
            command=recipe.command,
            environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
            user=f"{recipe.user}:{recipe.user}",
            labels={
                "org.opencontainers.image.title": recipe.title,
                "org.opencontainers.image.version": tag,
                "org.opencontainers.image.licenses": "Apache-2.0",
            },
        )

    def layers(self, recipe: Recipe) -> list[Layer]:
        """Return a recipe's layers, those without files left out."""
        base = [entry for entry in self.locked if entry.group == BASE and entry.architecture == self.architecture]
        tools = [
            entry for entry in self.locked if entry.group == recipe.name and entry.architecture == self.architecture
        ]
        if not base or (recipe.tools and not tools):
            raise ImageError(
                f"debian.lock has nothing for {recipe.name} on {self.architecture}; run the `lock` command"
            )
        pins = wheels.read_pins(ROOT / "requirements.lock")
        wanted = requirements(recipe)
        ours = own_files(recipe)
        made = (
            Layer(
                f"Python {PYTHON} of Debian", self._cached(_base_tree, (base,), lambda: _base_tree(self._debs(base)))
            ),
            Layer(
                "tools of Debian",
                self._cached(_tools_tree, (tools, recipe), lambda: _tools_tree(recipe, self._debs(tools))),
            ),
            Layer(
                "locked Python packages",
                self._cached(_wheels_tree, (wanted, pins), lambda: _wheels_tree(wanted, pins, self.cache / "wheels")),
            ),
            Layer("Weft", self._cached(with_bytecode, (ours,), lambda: with_bytecode(ours))),
        )
        return [layer for layer in made if read_tar(layer.tar)]

    def _debs(self, entries: Sequence[Locked]) -> dict[str, Path]:
        return self.apt.fetch(entries, self.cache / "debs")

    def _cached(self, maker: Callable[..., object], inputs: object, make: Callable[[], Tree]) -> bytes:
        name = hashlib.sha256(
            f"{maker.__name__}\n{self.architecture}\n{_builder_digest()}\n{inputs!r}".encode()
        ).hexdigest()
        path = self.cache / "layers" / f"{name}.tar"
        if path.exists():
            return path.read_bytes()
        path.parent.mkdir(parents=True, exist_ok=True)
        data = write_tar(make())
        new = path.with_suffix(".new")
        new.write_bytes(data)
        new.replace(path)
        return data


def _builder_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _base_tree(packages: Mapping[str, Path]) -> Tree:
    tree = _unpacked(packages, BASE_WITHOUT)
    tree |= {
        "etc/group": File(_GROUP.encode()),
        "etc/nsswitch.conf": File(_NSSWITCH.encode()),
        "etc/passwd": File(_PASSWD.encode()),
        "tmp": Folder(0o1777),
    }
    tree |= {name: Folder() for name in ("dev", "proc", "run", "sys", "var/lib")}
    return with_bytecode(tree)


def _tools_tree(recipe: Recipe, packages: Mapping[str, Path]) -> Tree:
    links = {path: Link(target) for path, target in recipe.links.items()}
    return _unpacked(packages, recipe.tools_without) | links


def _wheels_tree(wanted: Sequence[str], pins: Mapping[str, str], store: Path) -> Tree:
    tree: Tree = {}
    for wheel in wheels.fetch_closure(wanted, pins, store).values():
        tree |= wheels.unpack(wheel)
    return with_bytecode(tree)


def _unpacked(packages: Mapping[str, Path], without: Sequence[str]) -> Tree:
    """Return the files of Debian packages, each package's control data beside them; nothing setuid, nobody's but root's."""
    tree: Tree = {}
    for package, path in sorted(packages.items()):
        for name, member, content in debian.contents(path):
            if not name or member.isdir() or (matches(name, without) and not matches(name, KEPT)):
                continue
            tree[name] = Link(member.linkname) if member.issym() else File(content, member.mode & 0o755)
        tree[f"var/lib/dpkg/status.d/{package}"] = File(debian.control(path))
    return tree


def requirements(recipe: Recipe) -> list[str]:
    """Return the Python packages that a recipe asks for, as pyproject.toml has them."""
    project = _project()
    extra = [*project["optional-dependencies"][recipe.extra], *project["dependencies"]] if recipe.extra else []
    return sorted({*extra, *recipe.requirements})


def own_files(recipe: Recipe) -> Tree:
    """Return our own packages, their metadata, and the programs, from the checkout as it is."""
    project = _project()
    tree: Tree = {}
    for wanted in recipe.packages:
        places = [
            ROOT / holder / wanted for holder in ("agent", "operator", "iptables") if (ROOT / holder / wanted).exists()
        ]
        if len(places) != 1:
            raise ImageError(f"recipe {recipe.name} names {wanted}, which is not in the checkout")
        for path in [places[0]] if places[0].is_file() else sorted(places[0].rglob("*")):
            if path.is_file() and path.name.endswith(_OURS):
                inside = places[0].parents[len(Path(wanted).parts) - 1]
                tree[f"{SITE}/{path.relative_to(inside)}"] = File(path.read_bytes())
    metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    tree[f"{SITE}/{project['name']}-{project['version']}.dist-info/METADATA"] = File(metadata.encode())
    for program in recipe.programs:
        module, _, function = project["scripts"][program].partition(":")
        text = _PROGRAM.format(python=PYTHON, module=module, function=function)
        tree[f"usr/bin/{program}"] = File(text.encode(), 0o755)
    return tree


def version() -> str:
    """Return the distribution's version, which is the images' tag."""
    return str(_project()["version"])


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project
