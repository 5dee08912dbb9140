"""An image as an OCI archive: layers, configuration, manifest, index; loaded by containerd, Podman, Docker and skopeo.

Theory. An archive is a tar of blobs named after their SHA-256. containerd files an image under the annotation
`io.containerd.image.name`; Docker's older image store reads `manifest.json` instead of the index, so that is there too.
Layers are not compressed unless asked: compressors differ between machines, and with them the digest of the image, which is
how a cluster names it. Uncompressed, the same commit gives the same digest everywhere.

Source: OCI image specification 1.1 (image-layout.md, manifest.md, config.md, annotations.md).
"""

import io
import json
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from manifests.image.tree import DATE_UNIX_S, digest

_MEDIA: Final = "application/vnd.oci.image"
_CREATED: Final = "2026-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: what made it, and its tar."""

    made_by: str
    tar: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What is in an image and how it starts."""

    name: str
    """With its tag."""
    architecture: str
    layers: Sequence[Layer]
    entrypoint: Sequence[str]
    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Blob:
    kind: str
    data: bytes

    @property
    def path(self) -> str:
        return f"blobs/{digest(self.data).replace(':', '/')}"

    def described(self) -> dict[str, object]:
        return {"mediaType": f"{_MEDIA}.{self.kind}", "digest": digest(self.data), "size": len(self.data)}


def write_archive(image: Image, path: Path, *, compress: bool = False) -> str:
    """Write an image and return the digest of its manifest, by which it can be pulled.

    Args:
        image: what it is.
        path: the file, written atomically.
        compress: gzip the layers; the digest then depends on this machine's zlib.

    Raises:
        OSError: the file cannot be written.
    """
    layers = [_layer(layer, compress=compress) for layer in image.layers]
    configuration = _json("config.v1+json", _configuration(image))
    manifest = _json("manifest.v1+json", _manifest(configuration, layers))
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
    files |= {blob.path: blob.data for blob in (*layers, configuration, manifest)}
    files["index.json"] = _encode(_index(image.name, manifest))
    files["manifest.json"] = _encode(
        [{"Config": configuration.path, "RepoTags": [image.name], "Layers": [layer.path for layer in layers]}]
    )
    new = path.with_name(f".{path.name}.new")
    with tarfile.open(new, "w", format=tarfile.GNU_FORMAT) as archive:
        for name in sorted(files, key=lambda name: (name.startswith("blobs/"), name)):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(files[name]), DATE_UNIX_S
            archive.addfile(info, io.BytesIO(files[name]))
    new.replace(path)
    return digest(manifest.data)


def _layer(layer: Layer, *, compress: bool) -> _Blob:
    if not compress:
        return _Blob("layer.v1.tar", layer.tar)
    compressor = zlib.compressobj(6, zlib.DEFLATED, 31)  # 31: gzip, whose header then has no date and no name
    return _Blob("layer.v1.tar+gzip", compressor.compress(layer.tar) + compressor.flush())


def _configuration(image: Image) -> dict[str, object]:
    config: dict[str, object] = {
        "Entrypoint": list(image.entrypoint),
        "Cmd": list(image.command),
        "Env": [f"{name}={value}" for name, value in image.environment.items()],
        "User": image.user,
        "WorkingDir": "/",
        "Labels": dict(image.labels),
    }
    return {
        "architecture": image.architecture,
        "os": "linux",
        "created": _CREATED,
        "config": {name: value for name, value in config.items() if value},
        "rootfs": {"type": "layers", "diff_ids": [digest(layer.tar) for layer in image.layers]},
        "history": [{"created": _CREATED, "created_by": layer.made_by} for layer in image.layers],
    }


def _manifest(configuration: _Blob, layers: Sequence[_Blob]) -> dict[str, object]:
    return {
        "schemaVersion": 2,
        "mediaType": f"{_MEDIA}.manifest.v1+json",
        "config": configuration.described(),
        "layers": [layer.described() for layer in layers],
    }


def _index(name: str, manifest: _Blob) -> dict[str, object]:
    annotations = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rpartition(":")[2]}
    return {
        "schemaVersion": 2,
        "mediaType": f"{_MEDIA}.index.v1+json",
        "manifests": [manifest.described() | {"annotations": annotations}],
    }


def _json(kind: str, content: object) -> _Blob:
    return _Blob(kind, _encode(content))


def _encode(content: object) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
