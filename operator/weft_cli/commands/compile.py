"""`weft compile`: YAML files to node documents."""

import click

from weft_cli.exits import FINDINGS, OK
from weft_cli.files import read_texts
from weft_cli.output import CommandError, end, print_problem, print_problems


@click.command("compile")
@click.option(
    "-f", "--filename", "places", multiple=True, required=True, metavar="FILE|DIR|-", help="may be given again"
)
@click.option("-o", "--output", "directory", required=True, metavar="DIR", type=click.Path(file_okay=False))
@click.option(
    "--roots",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    help="identity directory whose roots go into the documents",
)
@click.option("--allow-broken", is_flag=True, help="write in spite of errors: what is broken becomes a refusal")
def compile_(places: tuple[str, ...], directory: str, roots: str | None, allow_broken: bool) -> None:
    """Turn YAML files into DIR/NODE.json, the documents that agents read.

    With an error nothing is written, unless --allow-broken is given and every document could at least be read.
    """
    from weft_cli.roots import read_roots
    from weft_operator.compile import compile_cluster, read_documents, read_view, write_documents

    parsed = read_documents(read_texts(places))
    compiled = compile_cluster(read_view(parsed.documents, read_roots(roots) if roots else None))
    problems = [*parsed.problems, *compiled.problems]
    print_problems(problems)
    errors = sum(1 for problem in problems if not problem.warning)
    if not parsed.complete or (errors and not allow_broken):
        print_problem(f"nothing was written, because of {errors} error{'s' if errors != 1 else ''}", warning=False)
        end(FINDINGS)
    try:
        written = write_documents(compiled, directory)
    except (OSError, ValueError) as exc:
        raise CommandError(f"cannot write to {directory}: {exc}") from exc
    counts = {"changed": written.changed, "unchanged": written.unchanged, "removed": written.removed}
    click.echo(
        ", ".join(f"{len(names)} {word}" for word, names in counts.items() if names) or "no nodes, nothing written"
    )
    end(FINDINGS if errors else OK)
