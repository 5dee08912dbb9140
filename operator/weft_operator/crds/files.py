"""The generated files: a CRD and a reference page for each kind, as texts by their path in the repository."""

import json
from collections.abc import Mapping
from typing import Final

import yaml

from weft_contract.labels import GROUP
from weft_operator.crds.definition import definition
from weft_operator.crds.names import NAMES
from weft_operator.crds.reference import index_page, kind_page

COMMAND: Final = "python -m weft_operator.crds"
CRD_FOLDERS: Final = ("manifests/charts/weft-crds/files", "manifests/crds")
"""For kubectl and for Helm, which reads no file outside its chart."""
_HEADER: Final = f"# Generated from weft_contract.objects by `{COMMAND}`; change the struct, not this file.\n"


def generated_files() -> Mapping[str, str]:
    """Return every generated file: path relative to the repository, and text."""
    files: dict[str, str] = {}
    for names in NAMES:
        document = definition(names)
        for folder in CRD_FOLDERS:
            files[f"{folder}/{GROUP}_{names.plural}.yaml"] = _HEADER + crd_text(document)
        files[f"docs/reference/{names.singular}.md"] = kind_page(names, document)
    files["docs/reference/README.md"] = index_page(NAMES)
    return dict(sorted(files.items()))


def crd_text(document: Mapping[str, object]) -> str:
    """Write a document as YAML, always in the same way."""
    plain = json.loads(json.dumps(document))  # without the sharing of parts that YAML would write as anchors
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120)
