"""The image builder's pieces: trees as tars, OCI archives, libraries a program asks for, locks, wheels, bytecode."""

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from manifests.image.bytecode import with_bytecode
from manifests.image.debian import Apt, DebianError, Locked, read_lock, write_lock
from manifests.image.elf import missing_libraries, needed
from manifests.image.layers import ImageError, Workshop, own_files, requirements, version
from manifests.image.oci import Image, Layer, write_archive
from manifests.image.recipes import BASE, RECIPES, SITE, Recipe
from manifests.image.tree import File, Folder, Link, Tree, matches, read_tar, with_parents, write_folder, write_tar
from manifests.image.wheels import WheelError, fetch_closure, read_pins, unpack

TREE: Tree = {"usr/bin/x": File(b"#!", 0o755), "lib": Link("usr/lib"), "tmp": Folder(0o1777)}


def test_a_tree_is_one_tar_whatever_order_it_was_made_in() -> None:
    turned = dict(reversed(TREE.items()))
    assert write_tar(TREE) == write_tar(turned)
    assert read_tar(write_tar(TREE)) == with_parents(TREE)
    with tarfile.open(fileobj=io.BytesIO(write_tar(TREE))) as archive:
        assert {(member.uid, member.gid, member.uname) for member in archive} == {(0, 0, "")}


def test_a_tree_becomes_a_folder(tmp_path: Path) -> None:
    root = tmp_path / "new" / "root"
    write_folder(TREE, root)
    write_folder({"usr/bin/x": File(b"2")}, root)
    assert (root / "usr/bin/x").read_bytes() == b"2"
    assert (root / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert (root / "lib").readlink() == Path("usr/lib")


def test_patterns_name_a_file_or_all_below() -> None:
    assert matches("usr/share/doc/x", ["usr/share/"])
    assert matches("usr/lib/py/_test1.so", ["usr/lib/*/_test*.so"])
    assert not matches("usr/share", ["usr/share/"])


def image(tmp_path: Path, name: str, *, compress: bool = False) -> tuple[str, dict[str, bytes]]:
    path = tmp_path / name
    layers = [Layer("one", write_tar(TREE)), Layer("two", write_tar({"a": File(b"a")}))]
    made = Image(
        name="weft.dev/t:1", architecture="amd64", layers=layers, entrypoint=["/x"], user="0:0", environment={"A": "b"}
    )
    digest = write_archive(made, path, compress=compress)
    with tarfile.open(path) as archive:
        files = {member.name: archive.extractfile(member) for member in archive}
        return digest, {name: file.read() for name, file in files.items() if file is not None}


@pytest.mark.parametrize("compress", [False, True])
def test_an_archive_is_whole_by_its_own_digests_and_always_the_same(tmp_path: Path, *, compress: bool) -> None:
    digest, files = image(tmp_path, "1.tar", compress=compress)
    assert (digest, files) == image(tmp_path, "2.tar", compress=compress)
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()
    for name, content in files.items():
        if name.startswith("blobs/sha256/"):
            assert name == f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"
    index = json.loads(files["index.json"])
    assert index["manifests"][0]["digest"] == digest
    assert index["manifests"][0]["annotations"]["io.containerd.image.name"] == "weft.dev/t:1"
    manifest = json.loads(files[f"blobs/{digest.replace(':', '/')}"])
    config = json.loads(files[f"blobs/{manifest['config']['digest'].replace(':', '/')}"])
    assert config["config"] == {"Entrypoint": ["/x"], "Env": ["A=b"], "User": "0:0", "WorkingDir": "/"}
    assert len(config["rootfs"]["diff_ids"]) == len(manifest["layers"]) == 2


def test_libraries_of_a_program_are_read_and_missing_ones_named() -> None:
    python = Path(sys.executable).resolve().read_bytes()
    assert "libc.so.6" in needed(python)
    assert needed(b"#!/bin/sh") == []
    tree: Tree = {"bin/python": File(python), "lib/libm.so.6": File(b"")}
    missing = missing_libraries(tree)
    assert missing["libc.so.6"] == ["bin/python"]
    assert "libm.so.6" not in missing


def test_a_lock_is_read_as_it_was_written_and_a_bad_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    entries = [Locked("b", "amd64", "p", "1:2", "0" * 64), Locked("a", "amd64", "q", "3", "1" * 64)]
    write_lock(entries, path)
    assert read_lock(path) == tuple(sorted(entries))
    path.write_text("a amd64 p 1 short\n")
    with pytest.raises(DebianError, match="lock:1 is no locked package"):
        read_lock(path)


def test_the_committed_lock_covers_every_recipe_and_architecture() -> None:
    groups = {(entry.group, entry.architecture) for entry in read_lock()}
    wanted = {BASE, *(name for name, recipe in RECIPES.items() if recipe.tools)}
    assert groups == {(group, architecture) for group in wanted for architecture in ("amd64", "arm64")}


def wheel(folder: Path, name: str, requires: str = "") -> str:
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/__init__.py", "x = 1\n")
        archive.writestr(f"{name}/tests/test_x.py", "")
        archive.writestr(f"{name}-1.0.data/scripts/{name}", "#!python")
        archive.writestr(f"{name}-1.0.data/purelib/{name}/more.py", "")
        archive.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\n{requires}")
    return f"{name}==1.0 \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_a_closure_follows_metadata_within_the_lock(tmp_path: Path) -> None:
    pins = {
        "aa": wheel(tmp_path, "aa", "Requires-Dist: bb>=1\nRequires-Dist: cc; extra == 'more'\n"),
        "bb": wheel(tmp_path, "bb", "Requires-Dist: dd; python_version < '3'\n"),
    }
    found = fetch_closure(["aa>=0.5"], pins, tmp_path)
    assert [path.name for path in found.values()] == ["aa-1.0-py3-none-any.whl", "bb-1.0-py3-none-any.whl"]
    with pytest.raises(WheelError, match="has no cc"):
        fetch_closure(["cc"], pins, tmp_path)


def test_a_wheel_lies_where_debian_python_looks_without_its_scripts_and_tests(tmp_path: Path) -> None:
    wheel(tmp_path, "aa")
    assert set(unpack(tmp_path / "aa-1.0-py3-none-any.whl")) == {
        f"{SITE}/aa/__init__.py", f"{SITE}/aa/more.py", f"{SITE}/aa-1.0.dist-info/METADATA",
    }  # fmt: skip


def test_pins_are_read_with_their_digests(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        "a.b==1 \\\n    --hash=sha256:00\n    # via c\nD[e]==2 \\\n    --hash=sha256:01 \\\n    --hash=sha256:02\n"
    )
    assert read_pins(lock) == {
        "a-b": "a.b==1 \\\n    --hash=sha256:00",
        "d": "D[e]==2 \\\n    --hash=sha256:01 \\\n    --hash=sha256:02",
    }


def test_bytecode_is_the_same_every_time_and_used_without_its_source(tmp_path: Path) -> None:
    tree: Tree = {
        "lib/m.py": File(b"NAMES = {'a', 'b', 'c'}\n\ndef f(x):\n    return x in {'p', 'q', 'r'}\n"),
        "no.py": File(b"("),
    }
    made = with_bytecode(tree)
    assert made == with_bytecode(tree)
    assert set(made) - set(tree) == {"lib/__pycache__/m.cpython-311.pyc"}
    write_folder(made, tmp_path)
    (tmp_path / "lib/m.py").write_text("NAMES = {}\n")
    said = subprocess.run(
        [sys.executable, "-c", "import m; print(sorted(m.NAMES))"],
        env={"PYTHONPATH": str(tmp_path / "lib")}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert said == "['a', 'b', 'c']\n"


def test_recipes_name_what_the_checkout_has() -> None:
    for recipe in RECIPES.values():
        files = own_files(recipe)
        assert f"usr/bin/{recipe.programs[0]}" in files
        assert f"{SITE}/weft-{version()}.dist-info/METADATA" in files
        assert not [path for path in files if "__pycache__" in path or "/tests/" in path]
    assert any(text.startswith("kopf") for text in requirements(RECIPES["operator"]))
    assert not any(text.startswith("kopf") for text in requirements(RECIPES["agent"]))


def test_what_a_recipe_asks_for_in_vain_is_named(tmp_path: Path) -> None:
    bad = Recipe(name="bad", title="", packages=("weft_gone",), programs=("weft-agent",))
    with pytest.raises(ImageError, match="weft_gone"):
        own_files(bad)

    workshop = Workshop(tmp_path, Apt(tmp_path, "bookworm", "amd64"), (), "amd64")
    with pytest.raises(ImageError, match=r"debian\.lock has nothing for bad"):
        workshop.layers(bad)
