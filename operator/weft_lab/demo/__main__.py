"""`python -m weft_lab.demo COMMAND …`: the entry point of image `weft.dev/demo`."""

import argparse
import importlib
import sys
from collections.abc import Sequence


def parser() -> argparse.ArgumentParser:
    """Return the command line of all programs."""
    top = argparse.ArgumentParser(prog="weft-demo", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="HTTP/1.1 server that answers with what it sees, as JSON")
    serve.add_argument("--port", type=int, action="append", metavar="PORT", help="may be given again (default 8080)")
    serve.add_argument("--drain", type=float, default=5.0, metavar="SECONDS", help="after SIGTERM (default 5)")
    serve.add_argument(
        "--linger", type=float, default=0.0, metavar="SECONDS",
        help="after SIGTERM take new connections for so long, as a server does that knows of endpoints' delay (default 0)",
    )  # fmt: skip
    serve.add_argument(
        "--status", type=int, default=200, choices=range(200, 600), metavar="STATUS",
        help="answer with it unless the path asks for something else: 503 plays a broken release (default 200)",
    )  # fmt: skip
    echo = commands.add_parser("tcp-echo", help="TCP server that sends back what it gets")
    echo.add_argument("--port", type=int, action="append", metavar="PORT", help="may be given again (default 9000)")
    echo.add_argument("--banner", default="", metavar="TEXT", help="say this first, before anything comes")
    commands.add_parser("client", help="do nothing until told to end: a place for `exec`")
    _get(commands.add_parser("get", help="fetch URLs over one connection, print status and body"))
    _load(commands.add_parser("load", help="send requests at a rate, print what came of it as JSON"))
    tcp = commands.add_parser("tcp", help="connect, send standard input, print what comes")
    tcp.add_argument("host")
    tcp.add_argument("port", type=int)
    tcp.add_argument("--send", metavar="TEXT", help="send this line instead of standard input and end after one answer")
    tcp.add_argument("--timeout", type=float, default=5.0, metavar="SECONDS")
    return top


def _get(command: argparse.ArgumentParser) -> None:
    command.add_argument("urls", nargs="+", metavar="URL")
    _request(command)
    command.add_argument("-n", "--count", type=int, default=1, metavar="N", help="fetch each URL so many times")
    command.add_argument("-i", "--include", action="store_true", help="print the answer's header fields too")
    command.add_argument("-f", "--fail", action="store_true", help="end with 22 if a status is 400 or more")
    command.add_argument("--close", action="store_true", help="a new connection for every request")


def _load(command: argparse.ArgumentParser) -> None:
    command.add_argument("url", metavar="URL")
    _request(command)
    command.add_argument("--rps", type=float, default=10.0, metavar="RATE", help="requests per second (default 10)")
    command.add_argument("--duration", type=float, default=5.0, metavar="SECONDS")
    command.add_argument("--connections", type=int, default=4, metavar="N")


def _request(command: argparse.ArgumentParser) -> None:
    command.add_argument("-X", "--method", metavar="METHOD", help="default GET, with --data POST")
    command.add_argument("-H", "--header", action="append", default=[], metavar="NAME: VALUE")
    command.add_argument("-d", "--data", metavar="TEXT")
    command.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one program and return its exit status."""
    options = parser().parse_args(argv)
    module = importlib.import_module(f"weft_lab.demo.{options.command.replace('-', '_')}")
    status: int = module.run(options)
    return status


if __name__ == "__main__":
    sys.exit(main())
