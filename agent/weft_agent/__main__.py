"""The `weft-agent` command: `run` becomes the keeper, `gate` waits for a pod's capture, the others answer and end.

Each command imports what it needs when it is asked for: the gate runs in front of every pod of the mesh, so it must start
at once and from the standard library alone.

Exit statuses: 0 in order, 1 something was found, 2 the command cannot be carried out as it was given; `gate` has its own.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import argparse

    from weft_agent.control.settings import Settings

EXIT_USAGE: Final = 2
PACKAGES: Final = ("weft_agent", "weft_contract", "weft_core", "weft_iptables")
KEEPER: Final = "weft_agent.keeper.keep"
CONTROL: Final = "weft_agent.control.__main__"
_VALUED: Final = (
    ("node", "NAME", "name of this node"),
    (
        "config",
        "DIR",
        "directory with NAME.json, written by `weft compile` or the operator; read again when it changes",
    ),
    (
        "operator",
        "URL",
        "https://HOST:PORT of the operator that sends configuration and certificates, instead of --config",
    ),
    (
        "operator-roots",
        "FILE",
        "PEM of the roots that the operator's certificate must come from; read again when it changes",
    ),
    (
        "token",
        "FILE",
        "projected service account token that the operator knows this agent by; read again when it changes",
    ),
    ("snapshot", "DIR", "where the last configuration of the operator is kept, on a disk (default /var/lib/weft/NAME)"),
    (
        "identity",
        "DIR",
        "directory with certificates and keys; read again when it changes (with --operator, written: a tmpfs,"
        " default STATE/identity)",
    ),
    ("state", "DIR", "own directory on a tmpfs (default /run/weft/NAME)"),
    ("workers", "N", "worker processes (default: one per CPU, at most 4)"),
    ("backend", "auto|nft|iptables", "how capture rules are written (default auto)"),
    ("proc", "DIR", "where the node's proc filesystem is mounted (default /proc; in a container, the host's)"),
    ("netns-dir", "DIR", "directory of named network namespaces (default /run/netns)"),
    (
        "kubernetes",
        "in-cluster|URL",
        "watch this node's pods at the API server (default: pods come from --config alone)",
    ),
    ("kubernetes-account", "DIR", "token and ca.crt for it (default: the mounted service account's)"),
    (
        "degraded-endpoints",
        "auto|off",
        "watch endpoints at the API server of --kubernetes while no operator can be reached (default auto)",
    ),
    ("health-address", "HOST:PORT", "readiness and liveness (default [::]:15021)"),
    ("metrics-address", "HOST:PORT", "metrics (default [::]:15020)"),
    ("log-format", "json|text", "of everything the agent writes (default json)"),
    ("log-level", "LEVEL", "debug, info, warning or error (default info)"),
    ("limit", "NAME=VALUE,…", "overrides of `weft limits`"),
)
_FLAGS: Final = ("remove-capture-on-exit", "stand-by")


def main(argv: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ, control: str = CONTROL) -> int:
    """Carry out one command.

    Args:
        argv: without the program's name; None takes the process's.
        environment: `WEFT_NODE` and so on stand in for flags that are not given.
        control: module whose `main` is control.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["gate"] and not {"-h", "--help"}.intersection(arguments):
        from weft_agent.gate.wait import main as gate

        return gate(arguments[1:], environment)
    options = _parser().parse_args(arguments)
    match options.command:
        case "run":
            return _run(options, environment, control)
        case "check":
            from weft_agent.control.check import main as check

            return check(options.config, options.node, options.identity)
        case "status":
            from weft_agent.control.status import main as status

            return status(options.state, options.node)
        case _:
            from weft_agent.control.version import version

            sys.stdout.write(f"weft-agent {version()}\n")
            return 0


def _run(options: "argparse.Namespace", environment: Mapping[str, str], control: str) -> int:
    from weft_agent.control.settings import SettingsError, parse_settings

    raw = collect(vars(options), environment)
    try:
        settings = parse_settings(raw, len(os.sched_getaffinity(0)))
    except SettingsError as exc:
        sys.stderr.writelines(f"weft-agent run: {mistake}\n" for mistake in exc.mistakes)
        return EXIT_USAGE
    argv = keeper_command(settings, control)
    return os.execv(argv[0], argv)


def collect(flags: Mapping[str, object], environment: Mapping[str, str]) -> dict[str, str]:
    """Return settings by name: flags first, then `WEFT_…` of the environment."""
    raw: dict[str, str] = {}
    for name in (*(name for name, _, _ in _VALUED), *_FLAGS):
        given = flags.get(name.replace("-", "_"))
        variable = environment.get("WEFT_" + name.upper().replace("-", "_"))
        if given is True:
            raw[name] = "true"
        elif isinstance(given, str):
            raw[name] = given
        elif variable is not None:
            raw[name] = variable
    return raw


def keeper_command(settings: "Settings", control: str) -> list[str]:
    """Return the command line of the keeper; what follows the module names are control's arguments, fully spelled out."""
    from weft_agent.keeper.launch import command, package_paths

    paths = package_paths([*PACKAGES, control.partition(".")[0]])
    flags: dict[str, object] = {
        "node": settings.node,
        **_source_flags(settings),
        "identity": settings.identity,
        "state": settings.state,
        "workers": settings.workers,
        "backend": settings.backend,
        "proc": settings.proc,
        "netns-dir": settings.netns_dir,
        "kubernetes": settings.kubernetes,
        "kubernetes-account": settings.kubernetes_account,
        "degraded-endpoints": settings.degraded_endpoints,
        "health-address": settings.health_address,
        "metrics-address": settings.metrics_address,
        "log-format": settings.log_format,
        "log-level": settings.log_level,
        "remove-capture-on-exit": str(settings.remove_capture_on_exit).lower(),
        "stand-by": str(settings.stand_by).lower(),
        "limit": ",".join(f"{name}={value}" for name, value in settings.limits.items()),
    }
    arguments = [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    return command(paths, KEEPER, [paths, control, *arguments], site=False)


def _source_flags(settings: "Settings") -> dict[str, object]:
    operator = settings.operator
    if operator is None:
        return {"config": settings.config}
    return {
        "operator": operator.url,
        "operator-roots": operator.roots,
        "token": operator.token,
        "snapshot": operator.snapshot,
    }


def _parser() -> "argparse.ArgumentParser":
    import argparse

    parser = argparse.ArgumentParser(prog="weft-agent", description="The agent of one node of a Weft mesh.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="capture, authenticate and carry the traffic of this node's pods")
    for name, value, text in _VALUED:
        run.add_argument(f"--{name}", metavar=value, help=text)
    run.add_argument(
        "--remove-capture-on-exit",
        action="store_true",
        default=None,
        help="remove the capture rules after a drained stop; default: they stay, so that nothing passes unguarded",
    )
    run.add_argument(
        "--stand-by",
        action="store_true",
        default=None,
        help="while another agent has the state directory: wait, ready, and take over when it ends (rolling updates)",
    )
    check = commands.add_parser("check", help="list everything wrong with configuration, identities and this host")
    check.add_argument("--config", metavar="DIR", required=True)
    check.add_argument("--identity", metavar="DIR")
    check.add_argument("--node", metavar="NAME", help="only this node's file; default: every file")
    status = commands.add_parser("status", help="show what a running agent does")
    status.add_argument("--state", metavar="DIR", help="the agent's --state; default: the only one below /run/weft")
    status.add_argument("--node", metavar="NAME", help="the agent's --node, instead of --state")
    commands.add_parser("gate", help="wait until the pod that this runs in is captured (its uid is in WEFT_POD_UID)")
    commands.add_parser("version", help="print the version")
    return parser


if __name__ == "__main__":
    sys.exit(main())
