"""Problems: what is wrong with a document, where, and what to do about it. All of them at once, never just the first."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with one document.

    `str(problem)` is the line users see: `web.yaml#2 AuthorizationPolicy shop/web: $.spec.rules[0].to: … (remedy)`.
    """

    path: str
    """JSON path inside the document, `$` for the whole of it."""
    message: str
    """What is wrong, as a sentence without a full stop."""
    remedy: str = ""
    """What to write instead; empty only where the message already says it."""
    source: str = ""
    """File and document number (`web.yaml#2`), or the resource key it came by."""
    subject: str = ""
    """Kind and name of the object, when they could be read: `AuthorizationPolicy shop/web`."""
    warning: bool = False
    """True where the document is usable as it is but probably not what was meant."""

    def __str__(self) -> str:
        """Give the line users see."""
        head = " ".join(part for part in (self.source, self.subject) if part)
        text = f"{self.path}: {self.message}" + (f"; {self.remedy}" if self.remedy else "")
        return f"{head}: {text}" if head else text


class ContractError(Exception):
    """A document (file, object, resource) that cannot be used; carries every problem found, in document order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
