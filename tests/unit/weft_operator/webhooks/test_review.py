"""AdmissionReviews as bytes: what is read, what is refused, what an answer looks like."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_operator.webhooks import Answer, ReviewError, answer_bytes, read_review
from weft_operator.webhooks.review import MAX_WARNING, MAX_WARNINGS, Cause
from weft_testing.objects import pod, policy
from weft_testing.reviews import answer_of, request_of, review

POLICY = policy("AuthorizationPolicy", "web", {})


def test_a_request_is_read() -> None:
    request = request_of(POLICY)
    assert (request.operation, request.kind.group, request.kind.kind) == ("CREATE", "weft.dev", "AuthorizationPolicy")
    assert (request.namespace, request.item, request.old) == ("shop", POLICY, {})
    changed = request_of(POLICY, POLICY)
    assert (changed.operation, changed.old) == ("UPDATE", POLICY)
    gone = request_of(None, POLICY)
    assert (gone.operation, gone.item, gone.old) == ("DELETE", {}, POLICY)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff\xfe",
        b'{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{}}',
        b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}',
        review(pod("p")).replace(b'"CREATE"', b'"REPLACE"'),
        b"[" * 100_000,
    ],
)
def test_anything_else_is_no_review(data: bytes) -> None:
    with pytest.raises(ReviewError, match=r"not an AdmissionReview of admission\.k8s\.io/v1"):
        read_review(data)


@given(st.integers(0, len(review(POLICY)) - 1))
def test_a_review_that_breaks_off_is_none(end: int) -> None:
    with pytest.raises(ReviewError):
        read_review(review(POLICY)[:end])


def test_an_answer_says_yes() -> None:
    assert answer_of(answer_bytes(request_of(POLICY), Answer(allowed=True))) == {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "allowed": True,
    }


def test_a_refusal_names_object_and_fields_as_the_api_server_does() -> None:
    answer = Answer(allowed=False, message="spec: no", causes=[Cause(field="spec", message="no")])
    assert answer_of(answer_bytes(request_of(POLICY), answer))["status"] == {
        "status": "Failure",
        "code": 422,
        "reason": "Invalid",
        "message": "spec: no",
        "details": {
            "name": "web",
            "group": "weft.dev",
            "kind": "AuthorizationPolicy",
            "causes": [{"reason": "FieldValueInvalid", "field": "spec", "message": "no"}],
        },
    }


def test_a_refusal_without_causes_is_forbidden() -> None:
    status = answer_of(answer_bytes(request_of(pod("p")), Answer(allowed=False, message="no gate")))["status"]
    assert isinstance(status, dict)
    assert (status["code"], status["reason"], status["message"]) == (403, "Forbidden", "no gate")


def test_a_patch_is_json_patch_in_base64() -> None:
    patch = [{"op": "add", "path": "/spec/x", "value": "ü"}]
    assert answer_of(answer_bytes(request_of(POLICY), Answer(allowed=True, patch=patch)))["patch"] == patch


def test_warnings_are_short_lines_few_and_different() -> None:
    warnings = ["twice", "twice", "two\nlines", "x" * 1000, *(f"w{n}" for n in range(20))]
    told = answer_of(answer_bytes(request_of(POLICY), Answer(allowed=True, warnings=warnings)))["warnings"]
    assert isinstance(told, list)
    assert told[:2] == ["twice", "two lines"]
    assert len(told[2]) == MAX_WARNING
    assert told[2].endswith("…")
    assert len(told) == MAX_WARNINGS + 1
    assert told[-1] == "and 13 more warnings; see the object's conditions"


@given(st.text(max_size=300), st.booleans())
def test_whatever_is_said_is_an_answer(text: str, allowed: bool) -> None:
    answer = Answer(allowed=allowed, message=text, warnings=[text], causes=[Cause(field=text, message=text)])
    data = answer_bytes(request_of(POLICY), answer)
    assert json.loads(data)["response"]["allowed"] is allowed
