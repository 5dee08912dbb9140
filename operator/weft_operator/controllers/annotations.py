"""Events on pods, Services and Namespaces of which a label or an annotation of ours is not counted: misspelt, malformed, or not
carried out yet. No webhook is asked about these objects, so without an Event their owners would have to guess.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Final

from weft_contract.labels import GROUP
from weft_contract.objects import Pod, problems
from weft_operator.compile import ClusterView
from weft_operator.compile.members import ENDED
from weft_operator.conditions import Notice
from weft_operator.conditions.condition import shortened
from weft_operator.conditions.notice import MAX_NOTE
from weft_operator.controllers.teller import Foreign

NOT_COUNTED: Final = "NotCounted"
_METADATA: Final = "$.metadata."


def annotation_notices(view: ClusterView) -> Iterator[tuple[Foreign, Notice]]:
    """Yield each object with what is not counted of it.

    Args:
        view: all objects; copied here, because it may change while it is read.
    """
    found: list[Foreign] = [*view.namespaces.values(), *view.services.values(), *view.pods.values()]
    for item in found:
        if not _is_marked(item) or (isinstance(item, Pod) and item.status.phase in ENDED):
            continue
        texts = [
            f"{problem.path.removeprefix('$.')}: {problem.message}" + (f"; {problem.remedy}" if problem.remedy else "")
            for problem in problems(item, lambda pattern: None)
            if problem.path.startswith(_METADATA)
        ]
        if texts:
            yield item, Notice(type="Warning", reason=NOT_COUNTED, note=shortened("; ".join(texts), MAX_NOTE))


def _is_marked(item: Foreign) -> bool:
    """Whether it has a label or an annotation of ours: most have none."""
    return any(GROUP in key.partition("/")[0] for key in chain(item.metadata.annotations, item.metadata.labels))
