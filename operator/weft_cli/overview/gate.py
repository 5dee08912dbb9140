"""Who puts the capture gate into pods of the mesh, as `weft check` tells it: the API server by a policy, or the webhook.

Theory: the chart installs the policy where the cluster has that kind (`webhooks.gate.by`), and the webhook behind it or alone.
With the webhook alone, which fails closed, no pod of the mesh can be made while no operator answers; that is in order, and said.
With neither, pods start without their gate.
"""

from typing import Final

from weft_cli.cluster.objects import custom_collections
from weft_cli.cluster.session import Body, Session
from weft_cli.overview.facts import COMPONENT_LABEL, NAME_LABEL
from weft_cli.overview.finding import Finding
from weft_operator.access import ApiError

ADMISSION: Final = "admissionregistration.k8s.io"
POLICY: Final = "MutatingAdmissionPolicy"
BINDING: Final = "MutatingAdmissionPolicyBinding"
WEBHOOK: Final = "MutatingWebhookConfiguration"
_SUBJECT: Final = "capture gate"
_BY_POLICY: Final = f"put in by the API server ({POLICY}): pods of the mesh start also while no operator runs"
_BY_WEBHOOK: Final = "put in by the operator's webhook: while no operator runs, no pod of the mesh can be made"
_OURS: Final = {"labelSelector": f"{NAME_LABEL}=weft,{COMPONENT_LABEL}=webhooks"}


def gate_resources(session: Session) -> list[tuple[str, str]]:
    """Return groups and plurals of what an installation creates for the gate on this cluster and not on every one."""
    names = ("mutatingadmissionpolicies", "mutatingadmissionpolicybindings") if POLICY in _paths(session) else ()
    return [(ADMISSION, name) for name in names]


def gate_before(session: Session) -> Finding:
    """Say who will put it in."""
    message = _BY_POLICY if POLICY in _paths(session) else _BY_WEBHOOK
    return Finding(subject=_SUBJECT, result="ok", message=message.replace("put in", "will be put in", 1))


def gate_now(session: Session) -> Finding:
    """Say who puts it in."""
    paths = _paths(session)
    try:
        if _found(session, paths, POLICY) and _found(session, paths, BINDING):
            return Finding(subject=_SUBJECT, result="ok", message=_BY_POLICY)
        webhooks = [hook for item in _found(session, paths, WEBHOOK) for hook in item.get("webhooks") or ()]
    except ApiError as exc:
        if exc.status != 403:
            raise
        message = f"who puts it into pods could not be looked at: {exc}"
        return Finding(subject=_SUBJECT, result="warning", message=message, remedy="ask for the right")
    if not webhooks:
        message = "nobody puts it into pods: they may speak before they are captured"
        return Finding(subject=_SUBJECT, result="error", message=message, remedy="install the chart weft again")
    if not all((hook.get("clientConfig") or {}).get("caBundle") for hook in webhooks):
        message = "the operator's webhook has no caBundle yet: no pod of the mesh can be made"
        return Finding(
            subject=_SUBJECT, result="error", message=message, remedy="see the log of the operator that leads"
        )
    return Finding(subject=_SUBJECT, result="ok", message=_BY_WEBHOOK)


def _paths(session: Session) -> dict[str, str]:
    return {item.kind: item.path for item in custom_collections(session, ADMISSION)}


def _found(session: Session, paths: dict[str, str], kind: str) -> list[Body]:
    return session.everything(paths[kind], _OURS) if kind in paths else []
