"""AdmissionReview: the question the API server asks and the answer it takes, as bytes and values.

Source: Kubernetes API, admission.k8s.io/v1; documentation "Dynamic admission control": warnings above 256 characters may be
cut, a patch is JSON Patch in base64, the answer repeats the uid.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import msgspec

from weft_contract.objects.shape import Foreign

API_VERSION: Final = "admission.k8s.io/v1"
MAX_REVIEW_BYTES: Final = 8 * 1024 * 1024
"""An API server takes objects of 3 MiB at most, and an update carries two."""
MAX_WARNING: Final = 256
MAX_WARNINGS: Final = 10
_CUT: Final = " …"

Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]
Patch = Sequence[Mapping[str, object]]


class ReviewError(ValueError):
    """The request is not an AdmissionReview; the message says why."""


class GroupKind(Foreign, frozen=True, kw_only=True):
    """Which kind the object is of."""

    group: str = ""
    version: str = ""
    kind: str = ""


class _Request(Foreign, frozen=True, kw_only=True):
    uid: str
    kind: GroupKind
    operation: Operation
    name: str = ""
    namespace: str = ""
    object: dict[str, Any] | None = None
    old_object: dict[str, Any] | None = None
    dry_run: bool | None = None


class _Review(Foreign, frozen=True, kw_only=True):
    api_version: Literal["admission.k8s.io/v1"]
    kind: Literal["AdmissionReview"]
    request: _Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be admitted."""

    uid: str
    kind: GroupKind
    operation: Operation
    namespace: str
    item: Mapping[str, object]
    """The object as it would be stored; empty for DELETE."""
    old: Mapping[str, object]
    """The object as it is stored; empty for CREATE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One reason of a refusal."""

    field: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the API server is told."""

    allowed: bool
    message: str = ""
    """Of a refusal, for people."""
    causes: Sequence[Cause] = ()
    warnings: Sequence[str] = ()
    patch: Patch = ()


ALLOWED: Final = Answer(allowed=True)
_decoder: Final = msgspec.json.Decoder(_Review)


def read_review(data: bytes) -> Request:
    """Read a request.

    Raises:
        ReviewError: it is something else.
    """
    try:
        request = _decoder.decode(data).request
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ReviewError(f"not an AdmissionReview of {API_VERSION}: {exc}") from exc
    return Request(
        uid=request.uid,
        kind=request.kind,
        operation=request.operation,
        namespace=request.namespace,
        item=request.object or {},
        old=request.old_object or {},
    )


def answer_bytes(request: Request, answer: Answer) -> bytes:
    """Write an answer."""
    response: dict[str, object] = {"uid": request.uid, "allowed": answer.allowed}
    if answer.warnings:
        response["warnings"] = [_short(text) for text in _few(answer.warnings)]
    if answer.patch:
        response |= {"patchType": "JSONPatch", "patch": b64encode(msgspec.json.encode(answer.patch)).decode()}
    if not answer.allowed:
        response["status"] = _status(request, answer)
    return msgspec.json.encode({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response})


def _status(request: Request, answer: Answer) -> dict[str, object]:
    """Return a status that kubectl shows as it shows the API server's own refusals: one line per field."""
    metadata = request.item.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    causes = [
        {"reason": "FieldValueInvalid", "field": cause.field, "message": cause.message} for cause in answer.causes
    ]
    details = {"name": name or "", "group": request.kind.group, "kind": request.kind.kind, "causes": causes}
    return {
        "status": "Failure",
        "code": 422 if causes else 403,
        "reason": "Invalid" if causes else "Forbidden",
        "message": answer.message,
        "details": {key: value for key, value in details.items() if value},
    }


def _few(warnings: Sequence[str]) -> Sequence[str]:
    """Return as many warnings as people read, without repetition."""
    texts = list(dict.fromkeys(warnings))
    more = len(texts) - MAX_WARNINGS
    return texts if more <= 0 else [*texts[:MAX_WARNINGS], f"and {more} more warnings; see the object's conditions"]


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_WARNING else line[: MAX_WARNING - len(_CUT)] + _CUT


def mapping(value: object) -> Mapping[str, object]:
    """Return a part of an object that should be a mapping; empty where it is none."""
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}
