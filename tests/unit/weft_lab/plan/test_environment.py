"""What a container is started with: variables in their order of precedence, the downward API, arguments, users."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_lab.model import ConfigMap, Container, Metadata, Pod, Secret
from weft_lab.model.pod import PodSecurityContext, SecurityContext
from weft_lab.plan.environment import ConfigurationError, Sources, arguments, expand, field_value, identity, variables
from weft_testing.lab import one, pod

SOURCES = Sources(
    {"settings": ConfigMap(metadata=Metadata(name="settings"), data={"LEVEL": "info", "MODE": "fast"})},
    {
        "keys": Secret(
            metadata=Metadata(name="keys"),
            data={"TOKEN": base64.b64encode(b"s3cret").decode()},
            string_data={"PLAIN": "p"},
        )
    },
)


def made(container: str) -> Pod:
    found = one(
        "{apiVersion: v1, kind: Pod, metadata: {name: web-0, namespace: shop, labels: {app: web}, annotations: {a.b/c: note}}, "
        f"spec: {{nodeName: node-1, serviceAccountName: web, containers: [{{name: m, command: [sh], {container}}}]}}}}"
    )
    assert isinstance(found, Pod)
    return found


def environment(container: str) -> dict[str, str]:
    found = made(container)
    return variables(found, found.spec.containers[0], SOURCES)


def test_variables_come_from_all_sources_and_env_beats_env_from() -> None:
    found = environment(
        "envFrom: [{configMapRef: {name: settings}}, {prefix: K_, secretRef: {name: keys}}], "
        "env: [{name: MODE, value: slow}, {name: T, valueFrom: {secretKeyRef: {name: keys, key: TOKEN}}}, "
        "{name: L, valueFrom: {configMapKeyRef: {name: settings, key: LEVEL}}}, {name: BOTH, value: '$(L)-$(MODE)'}]"
    )
    assert {name: found[name] for name in ("LEVEL", "MODE", "K_TOKEN", "K_PLAIN", "T", "L", "BOTH")} == {
        "LEVEL": "info", "MODE": "slow", "K_TOKEN": "s3cret", "K_PLAIN": "p", "T": "s3cret", "L": "info", "BOTH": "info-slow",
    }  # fmt: skip
    assert found["HOSTNAME"] == "web-0"
    assert found["HOME"] == "/root"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.name", "web-0"), ("metadata.namespace", "shop"), ("metadata.labels['app']", "web"),
        ("metadata.annotations['a.b/c']", "note"), ("metadata.labels['none']", ""), ("spec.nodeName", "node-1"),
        ("spec.serviceAccountName", "web"), ("status.podIP", ""),
    ],
)  # fmt: skip
def test_the_downward_api(path: str, expected: str) -> None:
    assert field_value(made(""), path) == expected


def test_addresses_of_both_families() -> None:
    found = pod("a", addresses=("10.0.0.1", "fd57::1"))
    assert field_value(found, "status.podIP") == "10.0.0.1"
    assert field_value(found, "status.podIPs") == "10.0.0.1,fd57::1"


@pytest.mark.parametrize(
    ("container", "named"),
    [
        ("env: [{name: X, valueFrom: {fieldRef: {fieldPath: spec.replicas}}}]", "spec.replicas"),
        ("env: [{name: X, valueFrom: {configMapKeyRef: {name: none, key: a}}}]", "none"),
        ("env: [{name: X, valueFrom: {secretKeyRef: {name: keys, key: NONE}}}]", "NONE"),
        ("env: [{name: X, valueFrom: {}}]", "X"),
        ("envFrom: [{configMapRef: {name: none}}]", "none"),
    ],
)
def test_what_is_not_there_is_named(container: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named.replace(".", r"\.")):
        environment(container)


def test_what_is_optional_may_be_missing() -> None:
    found = environment(
        "envFrom: [{configMapRef: {name: none, optional: true}}], "
        "env: [{name: X, valueFrom: {secretKeyRef: {name: none, key: a, optional: true}}}]"
    )
    assert "X" not in found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("$$(A)", "$(A)"),
        ("$(B)", "$(B)"),
        ("$A $(A", "$A $(A"),
        ("$$$(A)", "$1"),
        ("a$(A)b$(A)", "a1b1"),
        ("$$", "$"),
    ],
)
def test_expansion_is_kubernetes_own(text: str, expected: str) -> None:
    assert expand(text, {"A": "1"}) == expected


@given(st.text(st.characters(exclude_characters="$"), max_size=30))
def test_text_without_dollars_stays(text: str) -> None:
    assert expand(text, {"A": "1"}) == text


@pytest.mark.parametrize(
    ("command", "args", "expected"),
    [
        ((), (), ("entry", "e")),
        ((), ("x",), ("entry", "e", "x")),
        (("c",), (), ("c",)),
        (("c",), ("$(V)",), ("c", "v")),
    ],
)
def test_command_replaces_the_entry_point_and_args_its_arguments(
    command: tuple[str, ...], args: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert arguments(Container(name="m", command=command, args=args), ("entry", "e"), {"V": "v"}) == expected


def test_users_and_groups() -> None:
    shared = PodSecurityContext(run_as_user=1000, run_as_group=2000, fs_group=3000, supplemental_groups=(4000,))
    found = pod("a", security_context=shared)
    plain = Container(name="m")
    own = Container(name="m", security_context=SecurityContext(run_as_user=5))
    assert (identity(found.spec, plain).user, identity(found.spec, plain).group) == (1000, 2000)
    assert identity(found.spec, plain).groups == (2000, 3000, 4000)
    assert identity(found.spec, own).user == 5
    assert identity(pod("b").spec, plain).user == 0


def test_non_root_refuses_root() -> None:
    context = SecurityContext(run_as_non_root=True)
    with pytest.raises(ConfigurationError, match="runAsUser"):
        identity(pod("a").spec, Container(name="m", security_context=context))
    allowed = SecurityContext(run_as_non_root=True, run_as_user=7)
    assert identity(pod("a").spec, Container(name="m", security_context=allowed)).user == 7
