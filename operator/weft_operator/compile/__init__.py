"""The compiler: what users wrote, in whatever order, becomes the document that each node enforces.

Belongs here: reading YAML (`documents`), the view of all objects (`view`), and pure functions from the view to resources,
problems and results. Deterministic: same input, same bytes, so that any replica may compile for any node.
Does not belong here: an API server, a clock, a socket. The one module that touches files is `write`.
"""

from weft_operator.compile.cluster import Compiled, compile_cluster
from weft_operator.compile.documents import Document, Parsed, read_documents
from weft_operator.compile.results import AncestorResult, ObjectResult, ParentResult, Verdict
from weft_operator.compile.view import ClusterView, Held, ViewBuilder, hold, hold_document, read_view, regex_error
from weft_operator.compile.write import Written, write_documents

__all__ = [
    "AncestorResult",
    "ClusterView",
    "Compiled",
    "Document",
    "Held",
    "ObjectResult",
    "ParentResult",
    "Parsed",
    "Verdict",
    "ViewBuilder",
    "Written",
    "compile_cluster",
    "hold",
    "hold_document",
    "read_documents",
    "read_view",
    "regex_error",
    "write_documents",
]
