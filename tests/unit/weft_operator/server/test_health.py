"""Health: reasons in words, and shutting down is not ready but alive."""

from weft_operator.server.health import Health


def test_everything_that_is_wrong_is_told() -> None:
    wrong: list[str] = []
    health = Health(alive=[lambda: wrong, lambda: ()], ready=[lambda: ["not known yet: Pod"], lambda: wrong])
    assert health.not_alive == []
    assert health.not_ready == ["not known yet: Pod"]
    wrong.append("the watch of Pod is dead")
    assert health.not_alive == ["the watch of Pod is dead"]
    assert health.not_ready == ["not known yet: Pod", "the watch of Pod is dead"]


def test_who_shuts_down_is_not_ready_but_alive() -> None:
    health = Health(alive=[], ready=[])
    health.draining = True
    assert (health.not_alive, health.not_ready) == ([], ["shutting down"])
