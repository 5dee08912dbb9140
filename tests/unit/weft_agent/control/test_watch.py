"""Noticing changes: by event at once, by request at once, by poll at last."""

from pathlib import Path

import pytest
import trio
import trio.testing

from weft_agent.control.watch import Watch

pytestmark = pytest.mark.trio

LONG_S = 30.0


async def test_a_change_wakes_at_once(tmp_path: Path) -> None:
    watch = Watch([tmp_path], poll_s=LONG_S)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.changed)
            await trio.testing.wait_all_tasks_blocked()
            (tmp_path / "file").write_text("x")
    watch.close()


@pytest.mark.parametrize("change", ["rename", "remove", "chmod"])
async def test_every_kind_of_change_wakes(tmp_path: Path, change: str) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    watch = Watch([tmp_path], poll_s=LONG_S)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.changed)
            await trio.testing.wait_all_tasks_blocked()
            match change:
                case "rename":
                    path.rename(tmp_path / "other")
                case "remove":
                    path.unlink()
                case _:
                    path.chmod(0o600)
    watch.close()


async def test_somebody_may_ask(tmp_path: Path) -> None:
    watch = Watch([tmp_path], poll_s=LONG_S)
    watch.ask()
    with trio.fail_after(5):
        await watch.changed()
    watch.close()


async def test_a_change_while_nobody_waited_is_not_lost(tmp_path: Path) -> None:
    watch = Watch([tmp_path], poll_s=0.01)
    await watch.changed()
    watch._poll_s = LONG_S
    (tmp_path / "file").write_text("x")
    with trio.fail_after(5):
        await watch.changed()
    watch.close()


async def test_without_events_there_is_the_poll(tmp_path: Path) -> None:
    watch = Watch([tmp_path / "missing"], poll_s=0.05)
    with trio.fail_after(5):
        await watch.changed()
    watch.close()
    watch.close()
    with trio.fail_after(5):
        await watch.changed()
