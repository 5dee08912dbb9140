"""No passage without a permit: only the policy room makes one."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def makers_of(name: str) -> set[str]:
    found = set()
    for path in (ROOT / "agent").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
                found.add(str(path.relative_to(ROOT)))
    return found


def test_only_the_policy_room_makes_permits() -> None:
    makers = makers_of("Permit")
    assert makers, "somebody has to make them"
    assert all(path.startswith("agent/weft_core/policy/") for path in makers)
