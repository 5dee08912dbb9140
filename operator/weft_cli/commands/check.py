"""`weft check`: everything that is wrong with a cluster's mesh, with a cluster before it has one, or with YAML files."""

from collections import Counter

import click
import msgspec

from weft_cli.cluster.options import (
    cluster_errors,
    context_option,
    kubeconfig_option,
    open_session,
    system_namespace_option,
)
from weft_cli.exits import FINDINGS, OK, UNREACHABLE, USAGE
from weft_cli.files import read_texts
from weft_cli.output import CommandError, end, print_document, print_problems


@click.command()
@click.option("-f", "--filename", "places", multiple=True, metavar="FILE|DIR|-", help="check files; may be given again")
@click.option("--pre", is_flag=True, help="check whether Weft can be installed on the cluster")
@click.option("--strict", is_flag=True, help="end with 1 for warnings too")
@click.option("-q", "--quiet", is_flag=True, help="print problems only")
@click.option(
    "-o", "--output", type=click.Choice(["text", "json", "yaml"]), default="text", help="of a cluster's check"
)
@system_namespace_option
@kubeconfig_option
@context_option
@cluster_errors
def check(  # noqa: PLR0913  # one parameter for each option, as click wants it
    places: tuple[str, ...],
    pre: bool,
    strict: bool,
    quiet: bool,
    output: str,
    system_namespace: str,
    kubeconfig: str | None,
    context: str,
) -> None:
    """Say everything that is wrong, each with its place and remedy; ends with 1 if there is an error.

    With -f: all problems of all documents of YAML files. Without: the cluster, its installation and its objects; with --pre
    a cluster on which Weft is not installed yet.
    """
    if places:
        if pre or output != "text":
            raise CommandError("--pre and -o are for clusters; leave out -f", USAGE)
        errors, warnings = _check_files(places, quiet=quiet)
    else:
        try:
            place = (kubeconfig, context)
            errors, warnings = _check_cluster(
                pre=pre, quiet=quiet, output=output, place=place, namespace=system_namespace
            )
        except CommandError as exc:
            if exc.status != UNREACHABLE or pre:
                raise
            raise CommandError(f"{exc.message} (files are checked with -f FILE)", UNREACHABLE) from exc
    end(FINDINGS if errors or (strict and warnings) else OK)


def _check_files(places: tuple[str, ...], *, quiet: bool) -> tuple[int, int]:
    from weft_operator.compile import compile_cluster, read_documents, read_view

    parsed = read_documents(read_texts(places))
    view = read_view(parsed.documents)
    problems = [*parsed.problems, *compile_cluster(view).problems]
    print_problems(problems)
    errors = sum(1 for problem in problems if not problem.warning)
    warnings = len(problems) - errors
    if not quiet:
        for item in view.skipped:
            click.echo(f"{item.source}: {item.api_version} {item.kind} {item.name} was skipped: {item.note}")
        documents = len(parsed.documents)
        click.echo(f"{documents} documents, {errors} errors, {warnings} warnings")
    return errors, warnings


def _check_cluster(
    *, pre: bool, quiet: bool, output: str, place: tuple[str | None, str], namespace: str
) -> tuple[int, int]:
    from weft_cli.overview.facts import gather
    from weft_cli.overview.findings import before_installation, of_installation

    with open_session(*place) as session:
        findings = list(before_installation(session) if pre else of_installation(session, gather(session, namespace)))
    counts = Counter(finding.result for finding in findings)
    if output != "text":
        print_document({"findings": msgspec.to_builtins(findings)}, output)
        return counts["error"], counts["warning"]
    marks = {"ok": ("ok", "green"), "warning": ("warning", "yellow"), "error": ("error", "red")}
    for finding in findings:
        if not quiet or finding.result != "ok":
            word, colour = marks[finding.result]
            remedy = f"; {finding.remedy}" if finding.remedy else ""
            click.echo(f"{click.style(f'{word:7}', fg=colour)} {finding.subject}: {finding.message}{remedy}")
    if not quiet:
        click.echo(f"{len(findings)} checks, {counts['error']} errors, {counts['warning']} warnings")
    return counts["error"], counts["warning"]
