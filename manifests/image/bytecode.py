"""Python's bytecode, made ahead: the root of a container is read-only, so nothing could be kept at run time.

Theory. Bytecode is `unchecked-hash` (PEP 552): no date is compared, and a file whose source is not looked at starts faster.
A fresh interpreter with a fixed hash seed compiles everything in one order; what it writes then depends on nothing but the
sources and the interpreter. It must be of the version that the image has.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from manifests.image.recipes import PYTHON
from manifests.image.tree import File, Tree, write_folder

_COMPILE: Final = """
import py_compile, sys
root = sys.argv[1]
for path in sys.stdin.read().split("\\0"):
    try:
        py_compile.compile(f"{root}/{path}", dfile=f"/{path}", doraise=True, optimize=0,
                           invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    except py_compile.PyCompileError as exc:
        print(f"{path}: {exc}", file=sys.stderr)
"""


class BytecodeError(Exception):
    """The interpreter that runs this is not the image's."""


def with_bytecode(tree: Tree) -> Tree:
    """Return the tree with the bytecode of every Python file; one that does not compile (a template, a test) has none.

    Raises:
        BytecodeError: this interpreter writes bytecode of another version.
    """
    if f"{sys.version_info.major}.{sys.version_info.minor}" != PYTHON:
        raise BytecodeError(
            f"images hold Python {PYTHON} and are made with it; this is {sys.version.split()[0]}: run python{PYTHON}"
        )
    sources = {path: node for path, node in tree.items() if path.endswith(".py") and isinstance(node, File)}
    if not sources:
        return tree
    with TemporaryDirectory() as scratch:
        root = Path(scratch)
        write_folder(sources, root)
        subprocess.run(
            [sys.executable, "-S", "-c", _COMPILE, scratch],
            input="\0".join(sorted(sources)),
            text=True,
            check=True,
            capture_output=True,
            env={"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"},
        )
        made = {str(path.relative_to(root)): File(path.read_bytes()) for path in root.rglob("__pycache__/*.pyc")}
    return tree | made
