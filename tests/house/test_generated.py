"""Generated files are what their generator makes of the structs as they are now."""

from pathlib import Path

from weft_operator.crds import generated_files
from weft_operator.crds.__main__ import main, stale_files

ROOT = Path(__file__).resolve().parents[2]


def test_crds_and_reference_are_up_to_date() -> None:
    assert stale_files(ROOT, generated_files()) == [], "run: python -m weft_operator.crds"


def test_the_comparison_sees_what_changed_what_is_missing_and_what_is_left_over(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 0
    assert main([str(tmp_path), "--check"]) == 0
    crds, pages = tmp_path / "manifests" / "crds", tmp_path / "docs" / "reference"
    changed = crds / "weft.dev_meshes.yaml"
    changed.write_text(changed.read_text() + "# by hand\n")
    (pages / "mesh.md").unlink()
    (crds / "weft.dev_gone.yaml").write_text((crds / "weft.dev_ratelimitpolicies.yaml").read_text())
    (pages / "by-hand.md").write_text("# Somebody's own page\n")
    charted = tmp_path / "manifests" / "charts" / "weft-crds" / "files" / "weft.dev_meshes.yaml"
    charted.unlink()
    stale = [
        "docs/reference/mesh.md",
        "manifests/charts/weft-crds/files/weft.dev_meshes.yaml",
        "manifests/crds/weft.dev_gone.yaml",
        "manifests/crds/weft.dev_meshes.yaml",
    ]
    assert stale_files(tmp_path, generated_files()) == stale
    assert main([str(tmp_path), "--check"]) == 1
    assert stale_files(tmp_path, generated_files()) == stale, "a comparison changes nothing"
    assert main([str(tmp_path)]) == 0
    assert stale_files(tmp_path, generated_files()) == []
    assert (pages / "by-hand.md").exists()
