"""The version of the installed distribution."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version


def version() -> str:
    """Return the version, `0+source` where the code runs from a checkout."""
    try:
        return installed_version("weft")
    except PackageNotFoundError:
        return "0+source"
