"""CRDs and the field reference, generated from the structs that decode the same objects, so that the two cannot differ.

Belongs here: msgspec shape to structural schema, the CEL rules, names and columns of each kind, and writing them out as
YAML and Markdown (`python -m weft_operator.crds`).
Does not belong here: what an object means (`weft_contract.objects`) and talking to an API server.
"""

from weft_operator.crds.definition import definition
from weft_operator.crds.files import generated_files
from weft_operator.crds.names import NAMES, KindNames
from weft_operator.crds.rules import OBJECT_RULES, Rule
from weft_operator.crds.schema import Schema, SchemaError, schema_of

__all__ = [
    "NAMES",
    "OBJECT_RULES",
    "KindNames",
    "Rule",
    "Schema",
    "SchemaError",
    "definition",
    "generated_files",
    "schema_of",
]
