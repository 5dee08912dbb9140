"""The `weft-operator` command: `run` is the control plane, `version` tells which.

Exit statuses: 0 ended in order, 1 an error ended it, 2 the command cannot be carried out as it was given.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Final

from weft_operator.server.options import OPTIONS, collect, pod_namespace
from weft_operator.server.settings import SettingsError, parse_settings

if TYPE_CHECKING:
    from weft_operator.server.settings import Settings

EXIT_ERROR: Final = 1
EXIT_USAGE: Final = 2
_DESCRIPTION: Final = (
    "The control plane of a Weft mesh. It reads Pods, Services, mesh objects and routes from the Kubernetes API, compiles them "
    "to what each node enforces, streams that to the agents, issues certificates, answers admission webhooks, and writes the "
    "conditions of objects. Every replica serves all of it; one of them, by a Lease, writes."
)
_EPILOG: Final = "Each flag can be given by an environment variable instead: --gate-image is WEFT_GATE_IMAGE."


def main(argv: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Carry out one command.

    Args:
        argv: without the program's name; None takes the process's.
        environment: `WEFT_NAMESPACE` and so on stand in for flags that are not given.
    """
    options = _parser().parse_args(argv)
    if options.command == "version":
        sys.stdout.write(f"weft-operator {_version()}\n")
        return 0
    try:
        raw = collect(vars(options), environment)
        settings = parse_settings(raw, namespace=pod_namespace(environment), host=environment.get("POD_NAME"))
    except SettingsError as exc:
        sys.stderr.writelines(f"weft-operator run: {mistake}\n" for mistake in exc.mistakes)
        return EXIT_USAGE
    return asyncio.run(_run(settings))


async def _run(settings: "Settings") -> int:
    """Run a replica until a signal ends it."""
    # Imported here, because --help and a wrong flag should answer at once.
    import structlog

    from weft_operator.access import AccessError, InCluster, Kubeconfig
    from weft_operator.apiserver import ApiServer
    from weft_operator.ca import CaError
    from weft_operator.server.listen import ListenError
    from weft_operator.server.logs import configure_logs
    from weft_operator.server.replica import Replica

    configure_logs(settings.log_format, settings.log_level)
    log = structlog.get_logger("weft_operator.server")
    log.info("starting", version=_version(), **settings.shown())
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    access = Kubeconfig(settings.kubeconfig, settings.context) if settings.kubeconfig else InCluster()
    try:
        async with ApiServer(access) as api:
            await Replica(settings, access, api).run(stop)
    except (AccessError, CaError, ListenError) as exc:
        log.error("cannot run", why=str(exc))
        return EXIT_ERROR
    except Exception:
        log.exception("ended by an error of its own")
        return EXIT_ERROR
    log.info("ended")
    return 0


def _version() -> str:
    try:
        return installed_version("weft")
    except PackageNotFoundError:
        return "0+source"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="weft-operator", description=_DESCRIPTION)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="be a replica of the control plane", description=_DESCRIPTION, epilog=_EPILOG)
    for option in OPTIONS:
        run.add_argument(f"--{option.name}", metavar=option.value, help=option.help)
    commands.add_parser("version", help="print the version")
    return parser


if __name__ == "__main__":
    sys.exit(main())
