"""Is kopf still watching: what is missed, what heals it, when liveness fails."""

from weft_operator.controllers import Reference
from weft_operator.controllers.heartbeat import RESTARTS, STALE_S, Heartbeat

WEB = Reference("AuthorizationPolicy", "shop/web")


def test_silence_is_noticed_after_ninety_seconds() -> None:
    heartbeat = Heartbeat(0.0)
    assert heartbeat.missing(STALE_S) == ""
    assert heartbeat.missing(STALE_S + 1) == "nothing was heard for 91 s"
    heartbeat.beat(STALE_S + 1)
    assert heartbeat.missing(2 * STALE_S) == ""


def test_a_change_that_only_others_saw_is_noticed_though_the_lease_comes_back() -> None:
    heartbeat = Heartbeat(0.0)
    heartbeat.expect(WEB, "12", 10.0)
    heartbeat.beat(99.0)
    assert heartbeat.missing(100.0) == ""
    heartbeat.beat(101.0)
    assert heartbeat.missing(101.0) == "AuthorizationPolicy shop/web changed 90 s ago and was not heard of"


def test_hearing_that_version_or_a_later_one_settles_it_and_an_earlier_one_does_not() -> None:
    for version, settled in (("11", False), ("12", True), ("13", True), ("", False)):
        heartbeat = Heartbeat(0.0)
        heartbeat.expect(WEB, "12", 0.0)
        heartbeat.saw(WEB, version)
        heartbeat.beat(100.0)
        assert (heartbeat.missing(100.0) == "") == settled


def test_changes_one_after_the_other_are_waited_for_since_the_first() -> None:
    heartbeat = Heartbeat(0.0)
    for now in range(0, 100, 10):
        heartbeat.expect(WEB, str(now + 1), float(now))
    heartbeat.beat(95.0)
    assert "was not heard of" in heartbeat.missing(95.0)


def test_an_object_that_is_gone_is_not_waited_for() -> None:
    heartbeat = Heartbeat(0.0)
    heartbeat.expect(WEB, "12", 0.0)
    heartbeat.forget(WEB)
    heartbeat.beat(100.0)
    assert heartbeat.missing(100.0) == ""


def test_starting_anew_helps_or_liveness_fails() -> None:
    heartbeat = Heartbeat(0.0)
    now = 0.0
    for _ in range(RESTARTS):
        now += STALE_S + 1
        assert heartbeat.missing(now)
        heartbeat.restarted(now)
        assert heartbeat.missing(now) == ""
        assert heartbeat.alive
    now += STALE_S + 1
    heartbeat.restarted(now)
    assert not heartbeat.alive


def test_a_start_that_helped_is_forgotten() -> None:
    heartbeat = Heartbeat(0.0)
    for now in range(100, 1100, 100):
        heartbeat.restarted(float(now))
        heartbeat.beat(float(now) + 1)
    assert heartbeat.alive
