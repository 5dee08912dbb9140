"""`weft check`: everything that is wrong with YAML files, without a cluster."""

import click

from weft_cli.exits import FINDINGS, OK
from weft_cli.files import read_texts
from weft_cli.output import end, print_problems


@click.command()
@click.option(
    "-f", "--filename", "places", multiple=True, required=True, metavar="FILE|DIR|-", help="may be given again"
)
@click.option("--strict", is_flag=True, help="end with 1 for warnings too")
@click.option("-q", "--quiet", is_flag=True, help="print problems only")
def check(places: tuple[str, ...], strict: bool, quiet: bool) -> None:
    """Say everything that is wrong with YAML files: all problems of all documents, each with its place and remedy."""
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
    end(FINDINGS if errors or (strict and warnings) else OK)
