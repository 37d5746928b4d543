"""`posebus models`: what networks there are, getting and checking their files, and measuring them."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from common.artifact import Artifact, find_artifact, is_here, list_artifacts, pull, verify
from common.config import default_models
from common.manifest import ArtifactError
from common.model_store import default_cache
from posebus import models_bench, models_check, models_convert, models_seal, models_show
from posebus.models_show import default_of

app = typer.Typer(help="List, get, check and measure the networks.", no_args_is_help=True)
app.command("show")(models_show.show)
app.command("bench")(models_bench.bench)
app.command("check")(models_check.check)
app.command("convert")(models_convert.convert)
app.command("compare")(models_convert.compare)
app.command("seal")(models_seal.seal)

NamesArgument = Annotated[list[str] | None, typer.Argument(help="names or folders of artifacts", show_default=False)]


@app.command("list")
def list_models() -> None:
    """Show the built-in artifacts and whether their files are here."""
    table = Table(title=f"cache {default_cache()}", title_justify="left")
    for column in ("name", "version", "tasks", "default of", "formats", "precisions", "size", "here", "licence"):
        table.add_column(column, overflow="fold", no_wrap=column == "name")
    for artifact in list_artifacts():
        size = sum(file.size_bytes for file in artifact.manifest.file) / 2**20
        here = "[green]yes[/]" if is_here(artifact) else ", ".join(_formats_here(artifact)) or "no"
        precisions = ", ".join(dict.fromkeys(file.precision for file in artifact.manifest.file))
        table.add_row(artifact.name, artifact.version, ", ".join(artifact.tasks), default_of(artifact.name),
                      ", ".join(artifact.formats), precisions, f"{size:.1f} MB", here, artifact.manifest.licence)  # fmt: skip
    models_show.wide_console().print(table)


@app.command("pull")
def pull_models(
    names: NamesArgument = None,
    every: Annotated[bool, typer.Option("--all", help="all built-in artifacts")] = False,
) -> None:
    """Get model files and check them; without names, those of the default models."""
    failed = False
    for artifact in _chosen(names, every, sorted(set(default_models().values()))):
        try:
            typer.echo(f"{artifact}: {pull(artifact)}")
        except ArtifactError as error:
            failed = True
            typer.echo(str(error), err=True)
    if failed:
        raise typer.Exit(1)


@app.command("verify")
def verify_models(names: NamesArgument = None) -> None:
    """Check the SHA-256 of model files; without names, of all that are here. Exits 1 when one is wrong or missing."""
    failed, checked = False, 0
    for artifact in _chosen(names, not names, []):
        try:
            here = verify(artifact, missing=not names)
            checked += here
            if here or names:
                typer.echo(f"{artifact}: {here} of {len(artifact.manifest.file)} files here, good")
        except ArtifactError as error:
            failed = True
            typer.echo(str(error), err=True)
    if failed:
        raise typer.Exit(1)
    if not (names or checked):
        typer.echo("no model files are here yet; `posebus models pull` gets them")


def _formats_here(artifact: Artifact) -> list[str]:
    """Formats all of whose files are here: an image has only those that its runtime reads."""
    return [format for format in artifact.formats if artifact.manifest.file and is_here(artifact, formats=(format,))]


def _chosen(names: list[str] | None, every: bool, default: list[str]) -> list[Artifact]:
    if every:
        return list_artifacts()
    return [find_artifact(name) for name in names or default]
