"""Image archives: what the specification asks for, the same bytes for the same files, everything in its place."""

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft_testing.cluster.catalog import _is_static
from weft_testing.cluster.images import Copied, Entry, Folder, Image, Linked, Written, make_image


def blobs_of(archive: Path) -> dict[str, bytes]:
    """Return what is in an archive, having checked that every blob is named after its content."""
    with tarfile.open(archive) as tar:
        content = {each.name: read(tar, each) for each in tar}
    for name, data in content.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"
    return content


def read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member) if member.isreg() else None
    return file.read() if file is not None else b""


def unpack(archive: Path) -> tuple[str, dict[str, object], dict[str, object], dict[str, tuple[tarfile.TarInfo, bytes]]]:
    """Follow an archive from its index to its layer: name, configuration, what starts, members of the layer."""
    content = blobs_of(archive)
    assert json.loads(content["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    (described,) = json.loads(content["index.json"])["manifests"]
    manifest = json.loads(follow(content, described))
    configuration = json.loads(follow(content, manifest["config"]))
    (layer,) = manifest["layers"]
    assert configuration["rootfs"] == {"type": "layers", "diff_ids": [layer["digest"]]}
    assert layer["mediaType"].endswith("layer.v1.tar")
    with tarfile.open(fileobj=io.BytesIO(follow(content, layer))) as tar:
        members = {each.name: (each, read(tar, each)) for each in tar}
    return described["annotations"]["io.containerd.image.name"], configuration, configuration["config"], members


def follow(content: dict[str, bytes], described: dict[str, object]) -> bytes:
    data = content[f"blobs/{str(described['digest']).replace(':', '/')}"]
    assert len(data) == described["size"]
    return data


def test_an_image_has_its_files_with_owner_mode_and_folders(tmp_path: Path) -> None:
    source = tmp_path / "program"
    source.write_bytes(b"\x7fELF")
    files: dict[str, Entry] = {
        "usr/bin/program": Copied(source),
        "etc/own": Written(b"x", mode=0o600, owner=1000),
        "bin/sh": Linked("program"),
        "data": Folder(mode=0o700, owner=7),
        "data/deep/file": Written(b""),
    }
    image = Image(
        name="r.test/i:v1",
        files=files,
        entrypoint=["/usr/bin/program"],
        command=["serve"],
        environment={"A": "b=c"},
        user="1000",
        working_directory="/data",
        labels={"l": "v"},
    )
    make_image(image, tmp_path / "i.tar")
    name, whole, config, members = unpack(tmp_path / "i.tar")
    assert (name, whole["os"]) == ("r.test/i:v1", "linux")
    assert config == {
        "Entrypoint": ["/usr/bin/program"],
        "Cmd": ["serve"],
        "Env": ["A=b=c"],
        "User": "1000",
        "WorkingDir": "/data",
        "Labels": {"l": "v"},
    }
    assert list(members) == ["bin", "data/deep", "etc", "usr", "usr/bin", *sorted(files)]
    own, content = members["etc/own"]
    assert (own.mode, own.uid, own.gid, content) == (0o600, 1000, 1000, b"x")
    assert members["usr/bin/program"][0].mode == 0o755
    assert members["bin/sh"][0].linkname == "program"
    assert (members["data"][0].isdir(), members["data"][0].uid, members["data"][0].mode) == (True, 7, 0o700)


def test_a_rootfs_is_taken_as_it_is_and_files_come_on_top(tmp_path: Path) -> None:
    rootfs = tmp_path / "rootfs"
    (rootfs / "etc").mkdir(parents=True)
    (rootfs / "etc" / "kept").write_text("kept")
    (rootfs / "etc" / "kept").chmod(0o640)
    (rootfs / "etc" / "changed").write_text("before")
    (rootfs / "link").symlink_to("etc/kept")
    os.mkfifo(rootfs / "pipe")
    image = Image(name="i:1", rootfs=rootfs, files={"etc/changed": Written(b"after"), "new/x": Written(b"")})
    make_image(image, tmp_path / "i.tar")
    *_, members = unpack(tmp_path / "i.tar")
    assert set(members) == {"etc", "etc/kept", "etc/changed", "link", "new", "new/x"}
    assert (members["etc/kept"][0].mode, members["etc/kept"][1]) == (0o640, b"kept")
    assert members["etc/changed"][1] == b"after"
    assert members["link"][0].linkname == "etc/kept"


contents = st.dictionaries(
    st.from_regex(r"[a-z]{1,5}(/[a-z]{1,5}){0,2}", fullmatch=True), st.binary(max_size=40), max_size=5
)


@given(contents)
@settings(max_examples=30)
def test_the_same_files_are_the_same_image(tmp_path_factory: pytest.TempPathFactory, content: dict[str, bytes]) -> None:
    folder = tmp_path_factory.mktemp("images")
    made: list[tuple[str, bytes]] = []
    files: dict[str, Entry] = {}
    for number, order in enumerate((sorted(content), sorted(content, reverse=True))):
        files = {name: Written(content[name]) for name in order}
        digest = make_image(Image(name="i:1", files=files), folder / f"{number}.tar")
        made.append((digest, (folder / f"{number}.tar").read_bytes()))
    assert made[0] == made[1]
    other = make_image(Image(name="i:1", files={**files, "another": Written(b"")}), folder / "other.tar")
    assert other != made[0][0]


def test_a_file_that_cannot_be_read_leaves_no_archive(tmp_path: Path) -> None:
    image = Image(name="i:1", files={"x": Copied(tmp_path / "absent")})
    with pytest.raises(FileNotFoundError):
        make_image(image, tmp_path / "i.tar")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("program", "static"), [(b"#!/bin/sh\n", False), (Path("/bin/sh").read_bytes(), False)])
def test_what_needs_libraries_is_known(program: bytes, static: bool) -> None:
    assert _is_static(program) is static
