"""Pods as they run: what a program finds around itself, how it is probed, restarted and ended."""

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress

import pytest

from weft_lab.client import Client
from weft_lab.machine import namespaces as machine
from weft_lab.names import pod_namespace
from weft_lab.protocol import Reference
from weft_testing.lab import LiveLab, python_path

pytestmark = pytest.mark.netns


def pod(name: str, container: str, spec: str = "", metadata: str = "") -> str:
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, {metadata}}}
spec:
  {spec}
  containers:
  - {{name: main, {container}}}
"""


SLEEP = "image: weft.dev/demo, args: [client]"


def run(lab: LiveLab, namespace: str, text: str, name: str = "a") -> None:
    """Apply pods to a namespace, and wait for one."""
    lab.ok("apply", "-n", namespace, "-f", "-", text=text)
    lab.ok("wait", f"pod/{name}", "-n", namespace, "--timeout", "15s")


def until(lab: LiveLab, namespace: str, name: str, *, restarts: int = 0, phase: str = "") -> dict[str, object]:
    """Wait until a pod was restarted so often, or has a phase; return its status."""
    client = Client(lab.name)
    revision = 0
    status: dict[str, object] = {}
    for _ in range(400):
        found = client.get(Reference(kind="pod", namespace=namespace, name=name))
        status = status_of(found.items[0])
        counts = [int(str(item["restartCount"])) for item in containers_of(status)]
        if sum(counts) >= restarts and phase in {"", status.get("phase")}:
            return status
        revision = client.watch(max(found.revision, revision), 5.0)
    raise AssertionError(f"never restarted {restarts} times or {phase}: {status}\n{lab.dump()}")


def status_of(document: dict[str, object]) -> dict[str, object]:
    status = document.get("status", {})  # a pod that nobody has looked at yet has none
    assert isinstance(status, dict)
    return status


def containers_of(status: dict[str, object]) -> list[dict[str, object]]:
    found = status.get("containerStatuses", [])
    assert isinstance(found, list)
    return found


def test_the_world_of_a_container(plain: LiveLab, namespace: str) -> None:
    text = pod(
        "a",
        SLEEP + ", env: [{name: NS, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}, "
        "{name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}, {name: NODE, valueFrom: "
        "{fieldRef: {fieldPath: spec.nodeName}}}, {name: TWO, value: '$(NS)-2'}]",
        "nodeSelector: {kubernetes.io/hostname: node-2}",
    )
    run(plain, namespace, text)
    status = plain.document("pod", "a", namespace)["status"]
    assert isinstance(status, dict)
    out = plain.exec(
        "a", "sh", "-c", "env; hostname; echo pid=$$; cat /proc/1/comm", namespace=namespace
    ).out.splitlines()
    assert {f"NS={namespace}", f"IP={status['podIP']}", "NODE=node-2", f"TWO={namespace}-2", "a"} <= set(out)
    assert next(int(line[4:]) for line in out if line.startswith("pid=")) < 100, "a pid namespace of its own"
    addresses = plain.exec("a", "ip", "-br", "addr", "show", "eth0", namespace=namespace).out
    assert all(item["ip"] in addresses for item in status["podIPs"])
    assert len(status["podIPs"]) == 2


def test_containers_of_a_pod_share_the_network_and_not_the_files(plain: LiveLab, namespace: str) -> None:
    text = pod("a", "image: weft.dev/demo, args: [serve, --port, '8080']") + "  - {name: side, " + SLEEP + "}\n"
    run(plain, namespace, text)
    plain.exec("a", "sh", "-c", "echo mine > /tmp/mine; echo mine > /etc/mine", namespace=namespace, container="side")
    assert plain.exec("a", "cat", "/tmp/mine", namespace=namespace, container="side").out == "mine\n"
    assert plain.exec("a", "cat", "/tmp/mine", namespace=namespace, container="main").status != 0
    assert not os.path.exists("/tmp/mine")
    assert not os.path.exists("/etc/mine")
    found = plain.exec(
        "a", "python", "-m", "weft_lab.demo", "get", "http://localhost:8080/x", namespace=namespace, container="side"
    )
    assert '"path": "/x"' in found.out


def test_users_groups_and_capabilities(plain: LiveLab, namespace: str) -> None:
    text = pod("a", SLEEP + ", securityContext: {capabilities: {add: [NET_ADMIN], drop: [NET_RAW]}}")
    text += "---" + pod(
        "b",
        SLEEP + ", securityContext: {runAsUser: 1234, allowPrivilegeEscalation: false}",
        "securityContext: {runAsGroup: 77, fsGroup: 88, supplementalGroups: [99]}",
    )
    run(plain, namespace, text)
    plain.ok("wait", "pod/b", "-n", namespace)
    capabilities = int(
        plain.exec("a", "sh", "-c", "grep CapEff /proc/self/status", namespace=namespace).out.split()[1], 16
    )
    assert capabilities >> 12 & 1, "NET_ADMIN"
    assert not capabilities >> 13 & 1, "NET_RAW"
    assert not capabilities >> 21 & 1, "SYS_ADMIN"
    for words in (("id",), ("sh", "-c", "cat /proc/1/status")):
        assert plain.exec("b", *words, namespace=namespace).status == 0
    assert plain.exec("b", "id", "-u", namespace=namespace).out == "1234\n"
    assert set(plain.exec("b", "id", "-G", namespace=namespace).out.split()) == {"77", "88", "99"}
    status = plain.exec("b", "cat", "/proc/1/status", namespace=namespace).out
    assert "NoNewPrivs:\t1" in status
    assert "CapEff:\t0000000000000000" in status


def test_a_container_cannot_touch_the_machine(plain: LiveLab, namespace: str) -> None:
    run(plain, namespace, pod("a", SLEEP))
    for command in (
        "echo 0 > /proc/sys/net/ipv4/ip_forward",
        "mount -t tmpfs x /mnt",
        "ip link set eth0 down",
        "ls /run/netns",
        "cat /dev/vda",
        "nsenter -t 1 -n true",
    ):
        assert plain.exec("a", "sh", "-c", command, namespace=namespace).status != 0, command
    run(plain, namespace, pod("b", SLEEP + ", securityContext: {readOnlyRootFilesystem: true}"), "b")
    assert plain.exec("b", "touch", "/etc/x", namespace=namespace).status != 0


def test_volumes(plain: LiveLab, namespace: str, tmp_path: object) -> None:
    text = f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: settings}}
data: {{a.conf: "hello\\n", b: "x"}}
---
apiVersion: v1
kind: Secret
metadata: {{name: keys}}
data: {{token: czNjcmV0}}
---
{
        pod(
            "a",
            SLEEP
            + ", volumeMounts: [{name: shared, mountPath: /var/run/shared}, {name: settings, mountPath: /etc/settings}, "
            "{name: keys, mountPath: /keys}, {name: settings, mountPath: /one.conf, subPath: a.conf}, "
            "{name: host, mountPath: /host}]",
            "volumes: [{name: shared, emptyDir: {}}, {name: settings, configMap: {name: settings}}, "
            "{name: keys, secret: {secretName: keys, items: [{key: token, path: deep/token, mode: 256}]}}, "
            f"{{name: host, hostPath: {{path: {tmp_path}}}}}]",
        )
    }  - {{name: side, {SLEEP}, volumeMounts: [{{name: shared, mountPath: /s}}]}}
"""
    run(plain, namespace, text)
    script = "cat /etc/settings/a.conf /one.conf /keys/deep/token; echo there > /var/run/shared/x; echo out > /host/x"
    assert plain.exec("a", "sh", "-c", script, namespace=namespace).out == "hello\nhello\ns3cret"
    assert plain.exec("a", "cat", "/s/x", namespace=namespace, container="side").out == "there\n"
    assert plain.exec("a", "sh", "-c", "echo no > /etc/settings/b", namespace=namespace).status != 0
    with open(f"{tmp_path}/x", encoding="utf-8") as file:
        assert file.read() == "out\n"


def test_what_is_missing_is_told_and_taken_when_it_comes(plain: LiveLab, namespace: str) -> None:
    text = pod("a", SLEEP + ", envFrom: [{configMapRef: {name: late}}]")
    plain.ok("apply", "-n", namespace, "-f", "-", text=text)
    ran = plain.weft("wait", "pod/a", "-n", namespace, "--timeout", "1s")
    assert ran.status == 1
    plain.ok(
        "apply",
        "-n",
        namespace,
        "-f",
        "-",
        text="{apiVersion: v1, kind: ConfigMap, metadata: {name: late}, data: {X: y}}",
    )
    plain.ok("wait", "pod/a", "-n", namespace, "--timeout", "15s")
    assert plain.exec("a", "sh", "-c", "echo $X", namespace=namespace).out == "y\n"


def test_init_containers_run_first_and_in_order(plain: LiveLab, namespace: str) -> None:
    mount = "volumeMounts: [{name: v, mountPath: /v}]"
    inits = ", ".join(
        f"{{name: i{number}, image: any, command: [sh, -c, 'cat /v/* ; echo {number} > /v/{number}'], {mount}}}"
        for number in (1, 2)
    )
    text = pod(
        "a",
        f"image: any, command: [sh, -c, 'cat /v/*; sleep 600'], {mount}",
        f"initContainers: [{inits}]\n  volumes: [{{name: v, emptyDir: {{}}}}]",
    )
    run(plain, namespace, text)
    assert plain.ok("logs", "a", "-n", namespace) == "1\n2\n"
    assert plain.ok("logs", "a", "-c", "i2", "-n", namespace) == "1\n"


def test_crashes_restart_with_patience_and_keep_the_last_log(plain: LiveLab, namespace: str) -> None:
    plain.ok(
        "apply",
        "-n",
        namespace,
        "-f",
        "-",
        text=pod("a", "image: any, command: [sh, -c, 'echo run; touch /ran || true; ls /ran; exit 3']"),
    )
    status = until(plain, namespace, "a", restarts=2)
    assert '"exitCode": 3' in json.dumps(containers_of(status)[0]["lastState"])
    assert "CrashLoopBackOff" in plain.ok("get", "pods", "-n", namespace)
    assert plain.ok("logs", "a", "-n", namespace, "-p").startswith("run\n")


@pytest.mark.parametrize(("code", "phase"), [(0, "Succeeded"), (2, "Failed")])
def test_pods_that_never_restart_end(plain: LiveLab, namespace: str, code: int, phase: str) -> None:
    text = pod("a", f"image: any, command: [sh, -c, 'exit {code}']", "restartPolicy: Never")
    plain.ok("apply", "-n", namespace, "-f", "-", text=text)
    until(plain, namespace, "a", phase=phase)


def test_a_program_that_is_not_there_is_named(plain: LiveLab, namespace: str) -> None:
    plain.ok("apply", "-n", namespace, "-f", "-", text=pod("a", "image: any, command: [nosuchprogram]"))
    status = until(plain, namespace, "a", restarts=1)
    text = json.dumps(status)
    assert "StartError" in text
    assert "nosuchprogram" in text


def test_readiness_follows_the_probe_both_ways(plain: LiveLab, namespace: str) -> None:
    probe = "readinessProbe: {httpGet: {path: /status/200, port: 8080}, periodSeconds: 1, failureThreshold: 1}"
    run(plain, namespace, pod("a", f"image: weft.dev/demo, args: [serve], {probe}", metadata="labels: {app: a}"))
    service = "spec: {selector: {app: a}, ports: [{port: 80, targetPort: 8080}]}"
    text = f"{{apiVersion: v1, kind: Service, metadata: {{name: a}}, {service}}}"
    plain.ok("apply", "-n", namespace, "-f", "-", text=text)
    assert ":8080" in plain.ok("get", "endpoints", "a", "-n", namespace)
    probe_exec = "readinessProbe: {exec: {command: [test, -e, /tmp/ready]}, periodSeconds: 1, failureThreshold: 1}"
    plain.ok("apply", "-n", namespace, "-f", "-", text=pod("b", f"{SLEEP}, {probe_exec}"))
    assert plain.weft("wait", "pod/b", "-n", namespace, "--timeout", "1s").status == 1
    assert plain.exec("b", "touch", "/tmp/ready", namespace=namespace).status == 0
    plain.ok("wait", "pod/b", "-n", namespace, "--timeout", "15s")
    assert plain.exec("b", "rm", "/tmp/ready", namespace=namespace).status == 0
    client, revision = Client(plain.name), 0
    for _ in range(100):
        if "0/1" in plain.ok("get", "pod", "b", "-n", namespace):
            return
        revision = client.watch(revision, 0.5)
    raise AssertionError("it stayed ready")


def test_failed_liveness_restarts(plain: LiveLab, namespace: str) -> None:
    probe = "livenessProbe: {exec: {command: [test, '!', -e, /tmp/ill]}, periodSeconds: 1, failureThreshold: 1}"
    run(plain, namespace, pod("a", f"{SLEEP}, {probe}"))
    plain.exec("a", "touch", "/tmp/ill", namespace=namespace)
    until(plain, namespace, "a", restarts=1)
    plain.ok("wait", "pod/a", "-n", namespace, "--timeout", "15s")
    assert plain.exec("a", "test", "-e", "/tmp/ill", namespace=namespace).status == 1, "a new run has fresh files"


def test_probes_come_from_the_nodes_address(plain: LiveLab, namespace: str) -> None:
    listen = (
        "import socket\ns = socket.create_server(('', 7777))\nprint('at', s.accept()[1][0], flush=True)\n"
        "while True: s.accept()"
    )
    probe = "readinessProbe: {tcpSocket: {port: 7777}, periodSeconds: 1}"
    text = pod(
        "a",
        f"image: any, command: [{sys.executable}, -c, {json.dumps(listen)}], {probe}",
    )
    run(plain, namespace, text)
    host = plain.document("pod", "a", namespace)["status"]
    assert isinstance(host, dict)
    assert plain.ok("logs", "a", "-n", namespace) == f"at {host['hostIP']}\n"


def test_signals_reach_the_program_and_the_grace_period_is_kept(plain: LiveLab, namespace: str) -> None:
    trap = "image: any, command: [sh, -c, 'trap \"echo bye; exit 0\" TERM; echo up; while :; do sleep 0.1; done']"
    run(plain, namespace, pod("a", trap))
    follower = subprocess.Popen(
        [sys.executable, "-P", "-m", "weft_cli", "lab", "logs", "-f", "a", "-n", namespace, "--name", plain.name],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": python_path()},
    )
    plain.ok("delete", "pod", "a", "-n", namespace, "--timeout", "10s")
    out, _ = follower.communicate(timeout=15)
    assert out.decode().split() == ["up", "bye"] or out.decode().split() == ["up"]
    run(plain, namespace, pod("b", "image: any, command: [sh, -c, 'trap \"\" TERM; while :; do sleep 0.1; done']"), "b")
    assert plain.weft("delete", "pod", "b", "-n", namespace, "--now", "--timeout", "10s").status == 0


def test_exec_passes_input_output_status_and_signals(plain: LiveLab, namespace: str) -> None:
    run(plain, namespace, pod("a", SLEEP))
    ran = plain.weft("exec", "-i", "-n", namespace, "a", "--", "sh", "-c", "cat; echo err >&2; exit 9", text="in\n")
    assert (ran.status, ran.out, ran.err) == (9, "in\n", "err\n")
    assert plain.weft("exec", "-n", namespace, "a", "--", "cat", text="not passed on").out == ""
    assert plain.exec("a", "sh", "-c", "kill -TERM $$", namespace=namespace).status == 128 + 15
    assert plain.exec("a", "nosuch", namespace=namespace).status == 127
    for words in (
        ("exec", "-n", namespace, "nosuch", "--", "true"),
        ("exec", "-n", namespace, "-c", "x", "a", "--", "true"),
    ):
        ran = plain.weft(*words)
        assert ran.status == 1
        assert ran.err.startswith("error: ")


def test_exec_hands_on_a_terminal(plain: LiveLab, namespace: str) -> None:
    run(plain, namespace, pod("a", SLEEP))
    ours, theirs = pty.openpty()
    command = [
        sys.executable,
        "-P",
        "-m",
        "weft_cli",
        "lab",
        "exec",
        "-it",
        "--name",
        plain.name,
        "-n",
        namespace,
        "a",
        "--",
    ]
    process = subprocess.Popen(
        [*command, "sh", "-c", "test -t 0 && test -t 1 && echo terminal $TERM; read line; echo got $line"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": python_path(), "TERM": "xterm"},
    )
    os.close(theirs)
    got = b""
    while b"terminal xterm" not in got:
        got += os.read(ours, 1000)
    os.write(ours, b"hello\n")
    while b"got hello" not in got:
        got += os.read(ours, 1000)
    assert process.wait(15) == 0
    os.close(ours)


def commands(lab: LiveLab, namespace: str, name: str) -> set[str]:
    """Return the command lines of all processes in a pod's network."""
    space = pod_namespace(lab.name, namespace, name)
    found: set[str] = set()
    for pid in machine.run(["ip", "netns", "pids", space]).split():
        with suppress(OSError), open(f"/proc/{pid}/cmdline", encoding="utf-8") as file:
            found.add(file.read().replace("\0", " ").strip())
    return found


def test_a_killed_exec_takes_its_program_along(plain: LiveLab, namespace: str) -> None:
    run(plain, namespace, pod("a", SLEEP))
    words = ("lab", "exec", "--name", plain.name, "-n", namespace, "a", "--", "sh", "-c", "echo up; exec sleep 612")
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "weft_cli", *words],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": python_path()},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    assert "sleep 612" in commands(plain, namespace, "a")
    process.kill()
    process.communicate()
    client = Client(plain.name)
    for _ in range(100):
        if "sleep 612" not in commands(plain, namespace, "a"):
            return
        client.watch(2**53, 0.05)
    raise AssertionError("the program lived on")


def test_pods_on_the_nodes_own_network(plain: LiveLab, namespace: str) -> None:
    run(
        plain,
        namespace,
        pod("a", "image: weft.dev/demo, args: [serve, --port, '18080']", "hostNetwork: true\n  nodeName: node-1"),
    )
    status = plain.document("pod", "a", namespace)["status"]
    assert isinstance(status, dict)
    assert status["podIP"] == status["hostIP"]
    ran = plain.weft("node-exec", "node-2", "--", "curl", "-sS", "-m", "5", f"http://{status['podIP']}:18080/")
    assert '"pod": "a"' in ran.out


def test_jobs_run_to_their_end(plain: LiveLab, namespace: str) -> None:
    text = """
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  completions: 3
  parallelism: 2
  template:
    spec: {restartPolicy: Never, containers: [{name: m, image: any, command: [sh, -c, 'echo done']}]}
"""
    plain.ok("apply", "-n", namespace, "-f", "-", text=text)
    plain.ok("wait", "--for=complete", "job/once", "-n", namespace, "--timeout", "20s")
    assert plain.ok("get", "job", "once", "-n", namespace).splitlines()[1].split()[1:3] == ["Complete", "3/3"]


def test_a_pod_whose_network_cannot_be_made_says_why_and_is_tried_again(plain: LiveLab, namespace: str) -> None:
    text = pod("a", SLEEP, "securityContext: {sysctls: [{name: net.ipv4.nosuch, value: '1'}]}")
    plain.ok("apply", "-n", namespace, "-f", "-", text=text)
    client, found = Client(plain.name), ""
    for _ in range(100):
        found = plain.ok("get", "pod", "a", "-n", namespace, "-o", "json")
        if "FailedCreatePodSandBox" in found:
            break
        client.watch(2**53, 0.1)
    assert "net.ipv4.nosuch" in found
    assert '"phase": "Failed"' not in found
    plain.ok("delete", "pod", "a", "-n", namespace, "--timeout", "10s")


def test_pods_that_no_node_fits_say_why(plain: LiveLab, namespace: str) -> None:
    plain.ok("apply", "-n", namespace, "-f", "-", text=pod("a", SLEEP, "nodeSelector: {disk: tape}"))
    ran = plain.weft("wait", "pod/a", "-n", namespace, "--timeout", "500ms")
    assert ran.status == 1
    assert "disk=tape" in ran.err
    plain.ok("delete", "pod", "a", "-n", namespace, "--timeout", "5s")
