"""Settings through one of several proc filesystems."""

from pathlib import Path

import pytest

from weft_iptables.kernel import settings

PATH = "net/ipv4/fwmark_reflect"


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, Path]:
    """One root without the setting, one that has it."""
    (tmp_path / "two" / "sys/net/ipv4").mkdir(parents=True)
    (tmp_path / "two" / "sys" / PATH).write_text("0\n")
    return tmp_path / "one", tmp_path / "two"


def test_the_first_root_that_has_it_is_read(roots: tuple[Path, Path]) -> None:
    assert settings.read(PATH, roots) == 0
    assert settings.read(PATH, roots[:1]) is None
    assert settings.read("net/ipv4/none", roots) is None


def test_the_first_root_that_lets_us_is_written(roots: tuple[Path, Path]) -> None:
    assert settings.write(PATH, 1, roots) is None
    assert settings.read(PATH, roots) == 1


def test_a_refusal_is_returned(roots: tuple[Path, Path]) -> None:
    refusal = settings.write(PATH, 1, roots[:1])
    assert isinstance(refusal, FileNotFoundError)
    assert isinstance(settings.write(PATH, 1, ()), FileNotFoundError)


def test_the_kernels_own_can_be_read() -> None:
    assert settings.read(PATH, (Path("/proc"),)) in (0, 1)
