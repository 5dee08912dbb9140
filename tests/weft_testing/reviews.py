"""AdmissionReviews as the API server sends them, and what the answers do to an object."""

import json
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

import jsonpatch  # the judge of our patches

from weft_operator.webhooks import Request, read_review
from weft_testing.objects import Doc

UID = "705ab4f5-6393-11e8-b7cc-42010a800002"


def review(
    item: Mapping[str, Any] | None, old: Mapping[str, Any] | None = None, *, operation: str = "", namespace: str = ""
) -> bytes:
    """Return the bytes of a review; the operation is guessed from what is given."""
    about = item if item is not None else old
    assert about is not None
    group, _, version = about.get("apiVersion", "v1").rpartition("/")
    metadata = about.get("metadata") or {}
    request = {
        "uid": UID,
        "kind": {"group": group, "version": version, "kind": about.get("kind", "")},
        "resource": {"group": group, "version": version, "resource": about.get("kind", "").lower() + "s"},
        "requestKind": {"group": group, "version": version, "kind": about.get("kind", "")},
        "name": metadata.get("name", ""),
        "namespace": namespace or metadata.get("namespace", ""),
        "operation": operation or ("CREATE" if old is None else "UPDATE" if item is not None else "DELETE"),
        "userInfo": {"username": "admin", "groups": ["system:masters"]},
        "object": item,
        "oldObject": old,
        "dryRun": False,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
    }
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


def request_of(item: Mapping[str, Any] | None, old: Mapping[str, Any] | None = None, **more: str) -> Request:
    """Return a review as the webhooks read it."""
    return read_review(review(item, old, **more))


def answer_of(data: bytes) -> Doc:
    """Return the response of an answer; its patch as a list."""
    answer = json.loads(data)
    assert (answer["apiVersion"], answer["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    response: Doc = answer["response"]
    assert response["uid"] == UID
    if "patch" in response:
        assert response["patchType"] == "JSONPatch"
        response["patch"] = json.loads(b64decode(str(response["patch"]), validate=True))
    return response


def patched(item: Mapping[str, Any], patch: object) -> Doc:
    """Return an object with a JSON patch applied."""
    result: Doc = jsonpatch.apply_patch(json.loads(json.dumps(item)), json.loads(json.dumps(patch)))
    return result
