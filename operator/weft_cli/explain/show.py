"""Printing an answer: for people as an indented story, for programs as JSON or YAML."""

from collections.abc import Iterator

import click
import msgspec

from weft_cli.explain.answer import Answer, Landing, Leg

_COLOURS = {"allowed": "green", "refused": "red", "mixed": "yellow"}
_INDENT = "  "


def as_document(answer: Answer) -> dict[str, object]:
    """Return the answer as plain values, its verdict first."""
    return {"verdict": answer.verdict, **msgspec.to_builtins(answer)}


def lines(answer: Answer, *, wide: bool) -> Iterator[str]:
    """Yield the answer as text.

    Args:
        answer: what was found.
        wide: whether to show every step of every decision, also those of what is allowed.
    """
    who = answer.identity or "not in the mesh"
    yield f"{answer.source} ({who}){f' on {answer.node}' if answer.node else ''} calls {answer.destination}"
    yield f"{_INDENT}{answer.request or 'judged as an opaque connection'}"
    for leg in answer.legs:
        yield ""
        yield from _leg(leg, wide=wide, several=len(answer.legs) > 1)
    yield ""
    yield click.style(f"{answer.verdict}: {_summary(answer)}", fg=_COLOURS[answer.verdict], bold=True)


def _leg(leg: Leg, *, wide: bool, several: bool) -> Iterator[str]:
    share = f"{leg.share:6.1%} " if several else ""
    by = f" by {leg.route} {leg.rule}".rstrip() if leg.route else ""
    match leg.action:
        case "forward":
            yield f"{share}to {leg.to}{by}"
        case "redirect":
            yield f"{share}answered with {leg.status}{by}"
        case "refuse":
            yield f"{share}refused with {leg.status}{by}{f', meant for {leg.to}' if leg.to else ''}"
    if leg.detail:
        yield f"{_INDENT}{leg.detail}"
    for landing in leg.landings:
        yield from _landing(landing, wide=wide)


def _landing(landing: Landing, *, wide: bool) -> Iterator[str]:
    node = f" on {landing.node}" if landing.node else ""
    more = f" and {landing.alike} more alike" if landing.alike else ""
    yield f"{_INDENT}{landing.pod or 'endpoint'} {landing.endpoint}{node}{more}: {landing.transport}"
    if wide or landing.verdict == "refused":
        width = max((len(step.subject) for step in landing.steps), default=0)
        for step in landing.steps:
            if wide or step.kind not in ("facts", "verdict"):
                text = f"{step.kind:8} {step.subject:{width}} {step.outcome:12} {step.detail}"
                yield f"{_INDENT * 2}{text.rstrip()}"
    policy = f" by {landing.policy} {landing.rule}".rstrip() if landing.policy else ""
    if landing.verdict == "refused":
        status = f" with {landing.status}" if landing.status else ""
        yield f"{_INDENT * 2}refused{status}{policy}: {landing.reason}: {landing.message}"
    elif landing.pod:
        yield f"{_INDENT * 2}allowed{policy or ': no ALLOW policy applies'}"
        for limit in landing.limits:
            yield f"{_INDENT * 2}up to {limit}"


def _summary(answer: Answer) -> str:
    if answer.verdict == "allowed":
        return "every way the call may take is open"
    refused = sum(leg.share for leg in answer.legs if leg.refused)
    if answer.verdict == "refused":
        return "no way is open" if len(answer.legs) > 1 else "the call does not pass"
    return f"up to {refused:.0%} of such calls are refused"
