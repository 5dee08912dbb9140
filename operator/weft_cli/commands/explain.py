"""`weft explain`: may this caller call that, which way does it go, and which policy says so."""

import click

from weft_cli.cluster.options import cluster_errors, context_option, kubeconfig_option, open_session
from weft_cli.exits import FINDINGS, OK, USAGE
from weft_cli.files import read_texts
from weft_cli.output import CommandError, end, print_document, print_problem
from weft_operator.compile import Document

_KINDS = (
    "namespaces", "nodes", "pods", "services", "endpointslices", "replicasets", "meshes", "authorizationpolicies",
    "peerauthentications", "ratelimitpolicies", "httproutes", "grpcroutes", "tcproutes", "tlsroutes", "referencegrants",
)  # fmt: skip
"""What the compiler reads of a lab."""


@click.command()
@click.argument("caller", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--path", metavar="PATH", help="path and query of the request (default /)")
@click.option("-X", "--method", default="GET", metavar="METHOD", help="method of the request (default GET)")
@click.option("-H", "--header", "headers", multiple=True, metavar="NAME:VALUE", help="may be given again")
@click.option("--host", default="", metavar="HOST", help="Host of the request (default: the name called)")
@click.option("--tcp", "opaque", is_flag=True, help="ask about a connection, not about a request")
@click.option("-n", "--namespace", default="default", show_default=True, help="of names that have none")
@click.option("-f", "--filename", "places", multiple=True, metavar="FILE|DIR|-", help="ask files instead of a cluster")
@click.option("--lab", "lab", metavar="NAME", help="ask a lab instead of a cluster")
@click.option("-o", "--output", type=click.Choice(["text", "wide", "json", "yaml"]), default="text")
@kubeconfig_option
@context_option
@cluster_errors
def explain(  # noqa: PLR0913  # one parameter for each option, as click wants it
    caller: str,
    target: str,
    path: str | None,
    method: str,
    headers: tuple[str, ...],
    host: str,
    opaque: bool,
    namespace: str,
    places: tuple[str, ...],
    lab: str | None,
    output: str,
    kubeconfig: str | None,
    context: str,
) -> None:
    """Say what would become of a call from FROM to TO: its route, its endpoints, and every policy that is asked.

    FROM is a pod or workload, TO a Service, pod, URL or address: NAME, NAMESPACE/NAME, KIND/NAME, each of TO with :PORT
    where there are several. The answer comes from the code that decides live traffic. Ends with 1 if anything refuses.
    """
    from weft_cli.explain.journey import Asked, Journey
    from weft_cli.explain.question import read_caller, read_target
    from weft_cli.explain.show import as_document, lines
    from weft_cli.explain.world import World

    if places and lab is not None:
        raise CommandError("give -f or --lab, not both", USAGE)
    who, where = read_caller(caller, namespace), read_target(target, namespace)
    asked = Asked(
        method=method, path=path or where.path or "/", host=host, headers=_headers(headers, host), opaque=opaque
    )
    world = World(_documents(places, lab, kubeconfig, context))
    answer = Journey(world, who, asked).to(where)
    for text in answer.warnings:
        print_problem(text, warning=True)
    if output in ("json", "yaml"):
        print_document(as_document(answer), output)
    else:
        for line in lines(answer, wide=output == "wide"):
            click.echo(line)
    end(OK if answer.verdict == "allowed" else FINDINGS)


def _headers(given: tuple[str, ...], host: str) -> tuple[tuple[bytes, bytes], ...]:
    found = []
    for text in given:
        name, colon, value = text.partition(":")
        if not colon or not name.strip():
            raise CommandError(f"header {text!r}: write it as NAME:VALUE", USAGE)
        if name.strip().lower() == "host":
            raise CommandError("give the Host with --host", USAGE)
        found.append((name.strip().lower().encode(), value.strip().encode()))
    return tuple(found)


def _documents(places: tuple[str, ...], lab: str | None, kubeconfig: str | None, context: str) -> list[Document]:
    if places:
        return _of_files(places)
    return _of_lab(lab) if lab is not None else _of_cluster(kubeconfig, context)


def _of_files(places: tuple[str, ...]) -> list[Document]:
    from weft_cli.explain.imagine import imagine
    from weft_cli.output import print_problems
    from weft_operator.compile import read_documents

    parsed = read_documents(read_texts(places))
    print_problems(parsed.problems)
    if not parsed.complete:
        raise CommandError("a file could not be read whole, so the answer might be wrong")
    return imagine(parsed.documents)


def _of_lab(name: str) -> list[Document]:
    from weft_cli.lab.options import lab_errors
    from weft_lab.client import Client
    from weft_lab.protocol import Reference

    @lab_errors
    def ask() -> list[Document]:
        client = Client(name)
        found = [client.get(Reference(kind=kind, namespace=None)) for kind in _KINDS]
        bodies = [body for objects in found for body in objects.items]
        return [Document(source=f"lab {name}", body=body) for body in bodies]

    return ask()


def _of_cluster(kubeconfig: str | None, context: str) -> list[Document]:
    from weft_cli.cluster.objects import fetch

    with open_session(kubeconfig, context) as session:
        fetched = fetch(session)
    for text in fetched.unreadable:
        print_problem(f"the answer does not take into account what may not be listed: {text}", warning=True)
    return list(fetched.documents)
