"""Reading the roots of an identity directory, for documents that are compiled without an operator."""

from pathlib import Path

from weft_cli.exits import USAGE
from weft_cli.output import CommandError
from weft_contract.identity import IdentityGrammarError
from weft_contract.identity_layout import ROOTS_DIRECTORY, SUFFIX, trust_domain_of_file_name

_END = "-----END CERTIFICATE-----"


def read_roots(directory: str) -> dict[str, list[str]]:
    """Return PEM certificates by trust domain.

    Raises:
        CommandError: there are none, or a file cannot be used.
    """
    found: dict[str, list[str]] = {}
    folder = Path(directory) / ROOTS_DIRECTORY
    for path in sorted(folder.glob(f"[!.]*{SUFFIX}")):
        try:
            found[trust_domain_of_file_name(path.name)] = certificates(path.read_text(encoding="ascii"))
        except (IdentityGrammarError, OSError, UnicodeDecodeError) as exc:
            raise CommandError(f"{path}: {exc}", USAGE) from exc
    if not any(found.values()):
        raise CommandError(f"{folder} holds no roots; make some: weft ca init", USAGE)
    return found


def certificates(text: str) -> list[str]:
    """Return the single certificates of a PEM text."""
    parts = text.split(_END)
    return [part[part.index("-----BEGIN CERTIFICATE-----") :] + _END + "\n" for part in parts[:-1]]
