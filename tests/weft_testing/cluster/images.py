"""Container images out of files, as OCI archives, without an engine, a registry or root. Same files, same bytes.

Theory. An archive is a tar of blobs named after their SHA-256, an index that names the manifest, the manifest that names
the configuration and one layer. The layer is a plain tar: compressing it would cost more time than it saves, as archives
go from memory to memory. containerd files an image under the annotation `io.containerd.image.name`; a tag other than
`latest` keeps the kubelet from asking a registry for it.

Source: OCI image specification 1.1 (image-layout.md, manifest.md, config.md).
"""

import hashlib
import io
import json
import os
import platform
import stat
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_MEDIA: Final = "application/vnd.oci.image"


@dataclass(frozen=True, slots=True)
class Copied:
    """A file of this machine, read when the image is made."""

    source: Path
    mode: int = 0o755
    owner: int = 0


@dataclass(frozen=True, slots=True)
class Written:
    """A file with this content."""

    content: bytes
    mode: int = 0o644
    owner: int = 0


@dataclass(frozen=True, slots=True)
class Linked:
    """A symbolic link."""

    target: str


@dataclass(frozen=True, slots=True)
class Folder:
    """An empty folder; those above other entries are made without being asked for."""

    mode: int = 0o755
    owner: int = 0


Entry = Copied | Written | Linked | Folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What is in an image and how it starts."""

    name: str
    """With its tag, as a Pod names it."""
    files: Mapping[str, Entry] = field(default_factory=dict)
    """By path inside the image, without the leading slash."""
    rootfs: Path | None = None
    """A folder that becomes the whole root; `files` come on top of it."""
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    working_directory: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


def make_image(image: Image, archive: Path) -> str:
    """Write an image as an OCI archive.

    Args:
        image: what it is.
        archive: the file to write, atomically.

    Returns:
        The digest of its manifest, which is the same for the same files.

    Raises:
        OSError: a file cannot be read or the archive cannot be written.
    """
    temporary = archive.with_name(f".{archive.name}.{os.getpid()}")
    layer_path = temporary.with_suffix(".layer")
    try:
        layer = _write_layer(image, layer_path)
        configuration = _blob(_configuration(image, layer.digest))
        manifest = _blob(_manifest(configuration, layer))
        index = json.dumps(_index(image.name, manifest), sort_keys=True).encode()
        with tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT) as tar:
            _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
            _add(tar, "index.json", index)
            for blob in (configuration, manifest):
                _add(tar, blob.path, blob.content)
            with layer_path.open("rb") as source:
                tar.addfile(_info(layer.path, layer.size), source)
        temporary.replace(archive)
    finally:
        layer_path.unlink(missing_ok=True)
        temporary.unlink(missing_ok=True)
    return manifest.digest


@dataclass(frozen=True, slots=True)
class _Blob:
    digest: str
    size: int
    content: bytes = b""

    @property
    def path(self) -> str:
        return f"blobs/{self.digest.replace(':', '/')}"

    def described(self, kind: str) -> dict[str, object]:
        return {"mediaType": f"{_MEDIA}.{kind}", "digest": self.digest, "size": self.size}


def _blob(content: object) -> _Blob:
    data = json.dumps(content, sort_keys=True).encode()
    return _Blob(f"sha256:{hashlib.sha256(data).hexdigest()}", len(data), data)


def _configuration(image: Image, layer_digest: str) -> dict[str, object]:
    wanted: dict[str, object] = {
        "Entrypoint": list(image.entrypoint),
        "Cmd": list(image.command),
        "Env": [f"{name}={value}" for name, value in image.environment.items()],
        "User": image.user,
        "WorkingDir": image.working_directory,
        "Labels": dict(image.labels),
    }
    machine = platform.machine()
    return {
        "architecture": _ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "config": {name: value for name, value in wanted.items() if value},
        "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
    }


def _manifest(configuration: _Blob, layer: _Blob) -> dict[str, object]:
    return {
        "schemaVersion": 2,
        "mediaType": f"{_MEDIA}.manifest.v1+json",
        "config": configuration.described("config.v1+json"),
        "layers": [layer.described("layer.v1.tar")],
    }


def _index(name: str, manifest: _Blob) -> dict[str, object]:
    tag = name.rpartition(":")[2]
    annotations = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag}
    return {"schemaVersion": 2, "manifests": [manifest.described("manifest.v1+json") | {"annotations": annotations}]}


def _write_layer(image: Image, path: Path) -> _Blob:
    with path.open("wb") as raw, tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as tar:
        there: set[str] = set()
        if image.rootfs is not None:
            there = _add_rootfs(tar, image.rootfs)
        for folder in sorted(set(_parents(image.files)) - there - set(image.files)):
            _add_entry(tar, folder, Folder())
        for name in sorted(image.files):
            _add_entry(tar, name, image.files[name])
    with path.open("rb") as written:
        digest = hashlib.file_digest(written, "sha256").hexdigest()
    return _Blob(f"sha256:{digest}", path.stat().st_size)


def _parents(names: Iterable[str]) -> Iterable[str]:
    for name in names:
        yield from (str(parent) for parent in list(Path(name).parents)[:-1])


def _add_rootfs(tar: tarfile.TarFile, rootfs: Path) -> set[str]:
    """Add a tree as it is, owners and times too, in a fixed order; what is no file, folder or link stays out."""
    there = set()
    for path in sorted(rootfs.rglob("*")):
        name = str(path.relative_to(rootfs))
        mode = path.lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
            continue
        info = tar.gettarinfo(path, name)
        info.uname = info.gname = ""
        info.mtime = int(info.mtime)
        there.add(name)
        if info.isreg():
            with path.open("rb") as source:
                tar.addfile(info, source)
        else:
            tar.addfile(info)
    return there


def _add_entry(tar: tarfile.TarFile, name: str, entry: Entry) -> None:
    match entry:
        case Copied(source, mode, owner):
            with source.open("rb") as file:
                tar.addfile(_info(name, os.fstat(file.fileno()).st_size, mode, owner), file)
        case Written(content, mode, owner):
            tar.addfile(_info(name, len(content), mode, owner), io.BytesIO(content))
        case Linked(target):
            info = _info(name, 0, 0o777)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
        case Folder(mode, owner):
            info = _info(name, 0, mode, owner)
            info.type = tarfile.DIRTYPE
            tar.addfile(info)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    tar.addfile(_info(name, len(content)), io.BytesIO(content))


def _info(name: str, size: int, mode: int = 0o644, owner: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.uid, info.gid = size, mode, owner, owner
    return info
