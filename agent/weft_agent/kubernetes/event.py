"""What a watch says of an object."""

from typing import Literal

Change = Literal["ADDED", "MODIFIED", "DELETED"]
