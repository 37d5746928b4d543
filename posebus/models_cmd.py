"""`posebus models`: what networks there are, and getting and checking their files."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from common.artifact import Artifact, find_artifact, is_here, list_artifacts, pull, verify
from common.config import DetectorSettings
from common.manifest import ArtifactError
from common.model_store import default_cache

app = typer.Typer(help="List, get and check the networks.", no_args_is_help=True)

NamesArgument = Annotated[list[str] | None, typer.Argument(help="names or folders of artifacts", show_default=False)]


@app.command("list")
def list_models() -> None:
    """Show the built-in artifacts and whether their files are here."""
    table = Table(title=f"cache {default_cache()}", title_justify="left")
    for column in ("name", "version", "tasks", "formats", "size", "here", "licence"):
        table.add_column(column, overflow="fold", no_wrap=column == "name")
    for artifact in list_artifacts():
        size = sum(file.size_bytes for file in artifact.manifest.file) / 2**20
        here = "[green]yes[/]" if is_here(artifact) else "no"
        table.add_row(artifact.name, artifact.version, ", ".join(artifact.tasks), ", ".join(artifact.formats),
                      f"{size:.1f} MB", here, artifact.manifest.licence)  # fmt: skip
    Console().print(table)


@app.command("pull")
def pull_models(
    names: NamesArgument = None,
    every: Annotated[bool, typer.Option("--all", help="all built-in artifacts")] = False,
) -> None:
    """Get model files and check them; without names, the default model."""
    failed = False
    for artifact in _chosen(names, every, [DetectorSettings().model]):
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
    here = [artifact.name for artifact in list_artifacts() if is_here(artifact)]
    failed = False
    for artifact in _chosen(names, False, here):
        try:
            verify(artifact)
            typer.echo(f"{artifact}: good")
        except ArtifactError as error:
            failed = True
            typer.echo(str(error), err=True)
    if failed:
        raise typer.Exit(1)
    if not (names or here):
        typer.echo("no model files are here yet; `posebus models pull` gets them")


def _chosen(names: list[str] | None, every: bool, default: list[str]) -> list[Artifact]:
    if every:
        return list_artifacts()
    return [find_artifact(name) for name in names or default]
