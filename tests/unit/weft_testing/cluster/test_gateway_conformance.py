"""Reading what Gateway API's suite says: whole tests, not their parts; and where its report goes."""

from weft_testing.cluster.gateway_conformance import FEATURES, Outcome, read_outcomes, report_path

SAID = """
=== RUN   TestConformance/MeshBasic
    --- PASS: TestConformance/MeshBasic (0.20s)
        --- PASS: TestConformance/MeshBasic/ports (0.10s)
    --- FAIL: TestConformance/MeshGRPCRouteWeight (30.01s)
        --- FAIL: TestConformance/MeshGRPCRouteWeight/a_part (30.00s)
    --- SKIP: TestConformance/GatewayInfrastructure (0.00s)
--- FAIL: TestConformance (31.00s)
"""


def test_outcomes_are_those_of_whole_tests() -> None:
    assert list(read_outcomes(SAID)) == [
        Outcome("MeshBasic", "PASS"),
        Outcome("MeshGRPCRouteWeight", "FAIL"),
        Outcome("GatewayInfrastructure", "SKIP"),
    ]


def test_the_report_is_named_as_upstream_asks() -> None:
    path = report_path()
    assert path.parts[-3:-1] == ("v1.6", "weft")
    assert path.name.startswith("standard-v")
    assert path.name.endswith("-default-report.yaml")


def test_the_page_beside_the_report_tells_what_is_claimed() -> None:
    page = (report_path().parent / "README.md").read_text()
    assert f"-supported-features={','.join(FEATURES)}\n" in page
    assert f"(./{report_path().name})" in page
