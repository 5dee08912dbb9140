"""The cluster as it is, kept up to date: lists and watches in, changes of pruned objects out, and the loop that compiles them.

Belongs here: which kinds are read (`kinds`), their bytes to objects (`parse`), one loop per kind that lists and watches
(`reflector`), all of them (`mirror`), what is known now (`known`), and the loop that feeds the live compiler off the event
loop (`feed`), which outlives its own errors (`steady`).
Does not belong here: HTTP (`apiserver`), judging objects (`compile`, `live`), and what is done with what was compiled.
"""

from weft_operator.reflect.feed import Feed, Round
from weft_operator.reflect.kinds import REFLECTED, ReflectedKind
from weft_operator.reflect.known import Known
from weft_operator.reflect.mirror import Mirror
from weft_operator.reflect.parse import Seen
from weft_operator.reflect.reflector import Reflector, Source
from weft_operator.reflect.steady import SteadyEngine

__all__ = [
    "REFLECTED",
    "Feed",
    "Known",
    "Mirror",
    "ReflectedKind",
    "Reflector",
    "Round",
    "Seen",
    "Source",
    "SteadyEngine",
]
