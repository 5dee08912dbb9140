"""Protocols and port names."""

import pytest

from weft_contract.objects import Pod, ServicePort, decode_object
from weft_contract.resources.workload import Protocol
from weft_operator.compile.ports import agreed_protocol, name_protocol, named_port, service_protocol, target_port
from weft_testing import objects as o


@pytest.mark.parametrize(
    ("name", "protocol"),
    [
        ("http", "http"),
        ("http-web", "http"),
        ("HTTP", "http"),
        ("http2", "http2"),
        ("grpc-api", "grpc"),
        ("grpc-web-x", "grpc"),
        ("tcp-echo", "tcp"),
        ("tls", "tls"),
        ("https", "tls"),
        ("https-admin", "tls"),
        ("mysql", "tcp"),
        ("", "auto"),
        ("web", "auto"),
        ("httpx", "auto"),
        ("web-http", "auto"),
        ("metrics", "auto"),
    ],
)
def test_names(name: str, protocol: Protocol) -> None:
    assert name_protocol(name) == protocol


@pytest.mark.parametrize(
    ("port", "opaque", "protocol"),
    [
        (ServicePort(port=80), (), "auto"),
        (ServicePort(port=80, name="http"), (), "http"),
        (ServicePort(port=80, name="http", app_protocol="grpc"), (), "grpc"),
        (ServicePort(port=80, name="http", app_protocol="kubernetes.io/h2c"), (), "http2"),
        (ServicePort(port=80, name="grpc", app_protocol="example.com/own"), (), "grpc"),
        (ServicePort(port=80, app_protocol="HTTPS"), (), "tls"),
        (ServicePort(port=80, name="http", app_protocol="http"), ((79, 81),), "tcp"),
        (ServicePort(port=80, name="http"), ((81, 90),), "http"),
    ],
)
def test_services(port: ServicePort, opaque: tuple[tuple[int, int], ...], protocol: Protocol) -> None:
    assert service_protocol(port, opaque) == protocol


def test_declarations_agree_or_the_bytes_decide() -> None:
    assert agreed_protocol([]) == "auto"
    assert agreed_protocol(["auto", "http"]) == "http"
    assert agreed_protocol(["http", "http"]) == "http"
    assert agreed_protocol(["http", "tcp"]) == "auto"


def _pod() -> Pod:
    spec = {
        "containers": [
            {
                "name": "a",
                "ports": [
                    {"containerPort": 8080, "name": "http"},
                    {"containerPort": 53, "name": "dns", "protocol": "UDP"},
                ],
            },
            {
                "name": "b",
                "ports": [{"containerPort": 9090, "name": "metrics"}, {"containerPort": 5353, "name": "dns"}],
            },
        ],
        "initContainers": [
            {"name": "c", "restartPolicy": "Always", "ports": [{"containerPort": 7070, "name": "side"}]}
        ],
    }
    item = decode_object(o.pod("web", "10.0.0.1", spec=spec), "x")
    assert isinstance(item, Pod)
    return item


@pytest.mark.parametrize(
    ("reference", "number"),
    [
        ("http", 8080),
        ("metrics", 9090),
        ("dns", 5353),
        ("side", 7070),
        (81, 81),
        ("82", 82),
        ("nope", None),
        ("", None),
    ],
)
def test_named_ports(reference: int | str, number: int | None) -> None:
    assert named_port(_pod(), reference) == number


def test_target_ports() -> None:
    assert target_port(_pod(), ServicePort(port=80)) == 80
    assert target_port(_pod(), ServicePort(port=80, target_port="http")) == 8080
    assert target_port(_pod(), ServicePort(port=80, target_port=8081)) == 8081
    assert target_port(_pod(), ServicePort(port=80, target_port="nope")) is None
    assert target_port(_pod(), ServicePort(port=80, target_port=70000)) is None
