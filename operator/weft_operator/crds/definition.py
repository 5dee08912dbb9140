"""The CustomResourceDefinition of one kind."""

from typing import Final

import msgspec

from weft_contract.labels import GROUP, VERSION
from weft_contract.objects import MESH_NAME, Metadata, problems
from weft_operator.conditions import ObjectStatus
from weft_operator.crds.names import CATEGORY, COLUMNS, KindNames
from weft_operator.crds.rules import OBJECT_RULES
from weft_operator.crds.schema import Schema, SchemaError, first_line, schema_of, with_default

_API_VERSION: Final[Schema] = {
    "description": f"Group and version of this object: {GROUP}/{VERSION}.",
    "type": "string",
}
_KIND: Final[Schema] = {"description": "Kind of this object.", "type": "string"}


def definition(names: KindNames) -> Schema:
    """Return a kind's CustomResourceDefinition as plain values.

    Raises:
        SchemaError: the kind's struct cannot be written as a structural schema.
    """
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{names.plural}.{GROUP}",
            "labels": {"app.kubernetes.io/name": "weft", "app.kubernetes.io/part-of": "weft"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if names.namespaced else "Cluster",
            "names": {
                "plural": names.plural,
                "singular": names.singular,
                "kind": names.kind,
                "listKind": f"{names.kind}List",
                "shortNames": [names.short],
                "categories": [CATEGORY],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": [column.document() for column in COLUMNS],
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": object_schema(names)},
                }
            ],
        },
    }


def object_schema(names: KindNames) -> Schema:
    """Return the schema of a whole object: what users write, and the status that we write.

    A kind whose empty spec says something shows its defaults where the spec is left out; where the empty one says nothing,
    it has to be given.
    """
    spec = schema_of(_spec_type(names), OBJECT_RULES)
    schema: Schema = {"description": first_line(names.python_type), "type": "object"}
    if _empty_is_refused(names):
        schema["required"] = ["spec"]
    else:
        spec = with_default(spec)
    rules = OBJECT_RULES.get(names.python_type, ())
    if rules:
        schema["x-kubernetes-validations"] = [rule.document() for rule in rules]
    parts: Schema = {"apiVersion": dict(_API_VERSION), "kind": dict(_KIND), "metadata": {"type": "object"}}
    return {**schema, "properties": {**parts, "spec": spec, "status": _status()}}


def _spec_type(names: KindNames) -> type:
    field = next(field for field in msgspec.structs.fields(names.python_type) if field.name == "spec")
    if not isinstance(field.type, type):
        raise SchemaError(f"the spec of {names.kind} is not a struct")
    return field.type


def _empty_is_refused(names: KindNames) -> bool:
    item = names.python_type(metadata=Metadata(name=MESH_NAME, namespace="default"))
    return any(not problem.warning for problem in problems(item, lambda _: None))


def _status() -> Schema:
    """Return the status's schema: conditions merge by type, as tools that write and read them expect."""
    schema = schema_of(ObjectStatus, {}, for_users=False)
    properties = schema["properties"]
    if isinstance(properties, dict):
        properties["conditions"] |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    return schema
