"""What the operator is told of pods, and where keys are kept."""

import secrets
import shutil
import tempfile
import time
from pathlib import Path

from weft_agent.capture.pod import CaptureState, Pod
from weft_agent.operator_client.key_directory import KeyDirectory
from weft_agent.operator_client.plane import pods_report
from weft_contract.identity import parse_spiffe_id
from weft_contract.limits import DEFAULT_LIMITS
from weft_contract.stream import Pods
from weft_testing.node_resources import workload
from weft_testing.pki import ALICE, root


def pod(name: str, state: CaptureState, error: str = "") -> Pod:
    return Pod(workload(name), state, error)


def test_pods_are_told_by_the_state_of_their_capture() -> None:
    states: dict[str, tuple[CaptureState, str]] = {
        "c": ("captured", ""),
        "a": ("captured", ""),
        "p": ("pending", ""),
        "f": ("failed", "no namespace"),
        "l": ("leaving", ""),
    }
    pods = {name: pod(name, *state) for name, state in states.items()}
    assert pods_report(pods) == Pods(
        captured=("shop/a", "shop/c"), waiting=(("shop/f", "failed: no namespace"), ("shop/p", "pending"))
    )
    assert pods_report({}) == Pods()
    ((_, why),) = pods_report({"x": pod("x", "failed", "y" * 1000)}).waiting
    assert len(why) == 200


def test_a_directory_in_memory_is_fit_for_keys_and_one_on_a_disk_is_told() -> None:
    memory = Path("/dev/shm") / f"weft-{secrets.token_hex(8)}"
    try:
        directory = KeyDirectory(memory / "identity")
        assert directory.prepare() == ""
        assert (memory / "identity").stat().st_mode & 0o777 == 0o700
    finally:
        shutil.rmtree(memory, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as checkout:  # /tmp itself may be in memory
        assert "on a disk" in KeyDirectory(Path(checkout) / "identity").prepare()


def test_keys_are_written_read_and_removed_and_rubbish_is_swept(tmp_path: Path) -> None:
    directory = KeyDirectory(tmp_path / "identity")
    directory.prepare()
    issued = root().issue()
    alice = parse_spiffe_id(ALICE)
    directory.write(alice, issued.key_pem, issued.chain_pem)
    stored = directory.read(time.time(), DEFAULT_LIMITS)[alice]
    assert stored.chain == issued.chain
    assert stored.not_after_unix_s - stored.not_before_unix_s == 86460
    (tmp_path / "identity" / ".shop.alice.pem.0123456789ab").write_text("half")
    directory.prepare()
    assert [path.name for path in (tmp_path / "identity").iterdir()] == ["shop.alice.pem"]
    directory.remove(alice)
    directory.remove(alice)
    assert not list((tmp_path / "identity").iterdir())
