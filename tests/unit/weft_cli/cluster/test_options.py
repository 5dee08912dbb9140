"""Where a cluster is looked for, and what is said where there is none."""

from pathlib import Path

import pytest
import yaml

from weft_cli.cluster.options import cluster_errors, find_credentials
from weft_cli.output import CommandError
from weft_operator.access import AccessError, ApiError, UnreachableError


def kubeconfig(path: Path, server: str, context: str = "one", **user: object) -> Path:
    content = {
        "current-context": context,
        "contexts": [{"name": context, "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user or {"token": "secret"}}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_option_wins_over_the_environment(tmp_path: Path) -> None:
    one = kubeconfig(tmp_path / "one", "https://one:6443")
    two = kubeconfig(tmp_path / "two", "https://two:6443")
    found = find_credentials(str(one), "", {"KUBECONFIG": str(two)})
    assert (found.server, found.token) == ("https://one:6443", "secret")
    assert find_credentials(None, "", {"KUBECONFIG": str(two)}).server == "https://two:6443"


def test_of_a_list_the_first_file_with_the_context_is_taken(tmp_path: Path) -> None:
    one = kubeconfig(tmp_path / "one", "https://one:6443", "one")
    two = kubeconfig(tmp_path / "two", "https://two:6443", "two")
    environment = {"KUBECONFIG": f"{tmp_path / 'absent'}:{one}:{two}"}
    assert find_credentials(None, "two", environment).server == "https://two:6443"
    with pytest.raises(AccessError, match="no context 'three'"):
        find_credentials(None, "three", environment)


def test_without_any_it_is_said_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(AccessError, match="give --kubeconfig FILE or set KUBECONFIG"):
        find_credentials(None, "", {"KUBECONFIG": str(tmp_path / "absent")})
    with pytest.raises(AccessError, match="absent"):
        find_credentials(str(tmp_path / "absent"), "", {})


def test_plugins_are_refused_by_name(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "one", "https://one:6443", exec={"command": "aws"})
    with pytest.raises(AccessError, match=r"exec.*not supported; use a token or a certificate"):
        find_credentials(str(path), "", {})


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (UnreachableError("https://x: Connection refused"), 3, "is the cluster up"),
        (ApiError("GET /: 403 Forbidden: no", status=403), 1, "ask for a role"),
        (ApiError("GET /: 401 Unauthorized: no", status=401), 1, "sign in again"),
        (ApiError("GET /: 500 : broken", status=500), 1, "broken"),
    ],
)
def test_what_the_server_refuses_becomes_a_sentence_and_a_status(error: ApiError, status: int, said: str) -> None:
    @cluster_errors
    def command() -> None:
        raise error

    with pytest.raises(CommandError, match=said) as caught:
        command()
    assert caught.value.status == status
