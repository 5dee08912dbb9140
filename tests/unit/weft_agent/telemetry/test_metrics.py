"""Control's own values: only what is declared can be stated, and stated sets replace each other whole."""

import threading

import pytest

from weft_agent.telemetry.metrics import Metrics


def test_counters_add_and_gauges_are_stated() -> None:
    metrics = Metrics()
    metrics.add("weft_worker_restarts_total", worker="0")
    metrics.add("weft_worker_restarts_total", 2, worker="0")
    metrics.set("weft_config_generation", 7)
    assert metrics.get("weft_worker_restarts_total", worker="0") == 3
    assert metrics.get("weft_config_generation") == 7
    assert metrics.get("weft_worker_restarts_total", worker="1") == 0


@pytest.mark.parametrize(
    ("family", "labels"),
    [
        ("weft_config_generation", {"x": "y"}),
        ("weft_worker_restarts_total", {}),
        ("istio_requests_total", {}),
        ("nope", {}),
    ],
)
def test_what_is_not_declared_so_is_a_bug(family: str, labels: dict[str, str]) -> None:
    with pytest.raises(KeyError):
        Metrics().add(family, **labels)


def test_a_label_may_be_called_family() -> None:
    metrics = Metrics()
    metrics.add("weft_stock_sockets_total", 4, role="app", family="6")
    assert metrics.get("weft_stock_sockets_total", role="app", family="6") == 4


def test_replacing_forgets_what_is_not_named() -> None:
    metrics = Metrics()
    metrics.replace("weft_config_applied_generation", {("0",): 1.0, ("1",): 1.0})
    metrics.replace("weft_config_applied_generation", {("1",): 2.0})
    assert metrics.snapshot()["weft_config_applied_generation"] == {("1",): 2.0}


def test_what_is_gone_is_forgotten_in_every_family() -> None:
    metrics = Metrics()
    for pod in ("a", "b"):
        metrics.add("weft_capture_errors_total", namespace="shop", pod=pod)
        metrics.add("weft_capture_packets_total", namespace="shop", pod=pod, direction="in", kind="udp")
    metrics.set("weft_config_generation", 1)
    metrics.forget(namespace="shop", pod="a")
    assert metrics.snapshot() == {
        "weft_capture_errors_total": {("shop", "b"): 1.0},
        "weft_capture_packets_total": {("shop", "b", "in", "udp"): 1.0},
        "weft_config_generation": {(): 1.0},
    }


def test_threads_lose_no_count() -> None:
    metrics = Metrics()

    def add() -> None:
        for _ in range(5000):
            metrics.add("weft_log_dropped_total")

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metrics.get("weft_log_dropped_total") == 20_000
