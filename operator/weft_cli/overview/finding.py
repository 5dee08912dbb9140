"""What a check tells of one thing."""

from typing import Literal

from weft_cli.overview.nodes import Shape


class Finding(Shape, frozen=True, kw_only=True):
    """One thing that was looked at."""

    subject: str
    result: Literal["ok", "warning", "error"]
    message: str
    remedy: str = ""
