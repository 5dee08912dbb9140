"""`weft-agent status` as text: what is wrong comes first, and nothing is left out."""

from typing import Any

from weft_agent.control.status import lines

STATUS: dict[str, Any] = {
    "node": "n1",
    "version": "1.0",
    "uptimeSeconds": 61.2,
    "backend": "nft",
    "ready": False,
    "degraded": [],
    "operator": None,
    "missing": ["pod shop/web: failed: no namespace"],
    "warnings": ["no certificate for spiffe://x"],
    "config": {"digest": "abc", "origin": "file", "generation": 3, "resources": 9, "problems": []},
    "workers": [{"worker": 0, "pid": 7, "state": "serving", "appliedGeneration": 3}],
    "pods": [{"pod": "shop/web", "state": "failed", "error": "no namespace"}],
    "certificates": [{"identity": "spiffe://x", "leftSeconds": 7200}],
    "connections": {"inbound": 1, "outbound": 2, "tunnels": 3, "tunnelStreams": 4},
}


def test_a_person_sees_what_is_missing() -> None:
    assert lines(STATUS) == [
        "node n1: NOT READY (weft 1.0, up 61 s, rules by nft)",
        "config generation 3 from file, 9 resources, digest abc",
        "missing: pod shop/web: failed: no namespace",
        "warning: no certificate for spiffe://x",
        "worker 0 pid 7: serving, generation 3",
        "pod shop/web: failed: no namespace",
        "certificate spiffe://x: 2.0 h left",
        "connections: 1 inbound, 2 outbound, 3 tunnels with 4 streams",
    ]


def test_a_person_sees_how_it_stands_with_the_operator() -> None:
    operator = {"url": "https://x:15010", "connected": False, "configAgeSeconds": 61.3}
    told = lines(STATUS | {"operator": operator, "degraded": ["no operator for 61 s: refused"]})
    assert told[2:4] == [
        "operator https://x:15010: AWAY, configuration 61 s old",
        "degraded: no operator for 61 s: refused",
    ]
    counts = {"active": True, "connected": True, "services": 1, "gone": 2, "added": 3, "unknown": 4}
    told = lines(STATUS | {"operator": operator, "degraded": ["no operator"], "degradedEndpoints": counts})
    assert told[4] == "endpoints: from the API server; 2 gone, 3 added, 4 left out, of 1 services that differ"
    assert "AWAY too" in lines(STATUS | {"degradedEndpoints": counts | {"connected": False}})[2]
    assert lines(STATUS | {"degradedEndpoints": counts | {"active": False}}) == lines(STATUS)
    assert lines(STATUS | {"operator": operator | {"connected": True}})[2] == "operator https://x:15010: connected"
