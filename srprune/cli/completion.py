"""``completion``: commands, options and names behind the Tab key. Nothing here loads torch."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class
from click.types import StringParamType

from srprune.core.workspace import Workspace

PROGRAM = "srprune"  # also where it runs as python -m srprune
VARIABLE = "_SRPRUNE_COMPLETE"  # click's rule: the scripts set it, and so ask instead of run


class Names(NamedTuple):
    """What may stand at one parameter.

    Attributes:
        known: the names, by the workspace at hand.
        paths: ``file`` or ``dir`` where a path will do as well.
    """

    known: Callable[[Workspace], Iterable[str]]
    paths: str = ""


def _configs(workspace: Workspace) -> Iterable[str]:
    from srprune.core.configs import known_configs

    return known_configs()


def _studies(workspace: Workspace) -> Iterable[str]:
    from srprune.core.configs import STUDIES, known_configs

    return ["run", "status", "report", *known_configs(STUDIES)]


def _benchmarks(workspace: Workspace) -> Iterable[str]:
    from srprune.images.benchmarks import BENCHMARKS, PHOTOS

    return [*BENCHMARKS, PHOTOS]


def _routers(workspace: Workspace) -> Iterable[str]:
    from srprune.wbsr import ROUTERS

    return ROUTERS


def _rules(workspace: Workspace) -> Iterable[str]:
    from srprune.selection import RULES

    return RULES


def _methods(workspace: Workspace) -> Iterable[str]:
    from srprune.scoring import SCORERS

    return SCORERS


def _exports(workspace: Workspace) -> Iterable[str]:
    from srprune.exports import EXPORTS

    return EXPORTS


def _datasets(workspace: Workspace) -> Iterable[str]:
    from srprune.images.datasets import DATASETS

    return DATASETS


def _devices(workspace: Workspace) -> Iterable[str]:
    return ("auto", "cpu", "cuda", "mps")


def _scores(workspace: Workspace) -> Iterable[str]:
    return [path.stem for path in workspace.score_tables()]


def _scorers(workspace: Workspace) -> Iterable[str]:
    return [path.name for path in workspace.scorers()]


def _coresets(workspace: Workspace) -> Iterable[str]:
    return sorted(path.stem for path in workspace.coreset("").parent.glob("*.parquet"))


def _runs(workspace: Workspace) -> Iterable[str]:
    return [path.name for path in workspace.runs()]


def _models(workspace: Workspace) -> Iterable[str]:
    return ["bicubic", *_runs(workspace)]


def _artifacts(workspace: Workspace) -> Iterable[str]:
    return [*_coresets(workspace), *_scores(workspace), *_runs(workspace), *_scorers(workspace)]


# By the name of the parameter, whichever command it belongs to.
NAMES = {
    "artifacts": Names(_artifacts, "file"),
    "benchmarks": Names(_benchmarks, "dir"),
    "config": Names(_configs, "file"),
    "coreset": Names(_coresets, "file"),
    "coresets": Names(_coresets, "file"),
    "device": Names(_devices),
    "devices": Names(_devices),
    "init": Names(_runs, "file"),
    "method": Names(_methods),
    "models": Names(_models, "file"),
    "names": Names(_datasets),
    "router": Names(_routers),
    "rule": Names(_rules),
    "run": Names(_runs, "file"),
    "scorers": Names(_scorers, "file"),
    "scores": Names(_scores),
    "to": Names(_exports),
    "words": Names(_studies, "file"),
}


class Known(StringParamType):
    """Text that completes names, in place of the type that checks a value."""

    def __init__(self, names: Names) -> None:
        """Complete ``names``."""
        self.names = names

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The names that begin with what is there; paths, where no name does."""
        fit = [name for name in self.names.known(_workspace(ctx)) if name.startswith(incomplete)]
        paths = [CompletionItem(incomplete, type=self.names.paths)] if self.names.paths else []
        return [*paths, *map(CompletionItem, fit)]  # bash forgets what stands before a path


def know_names(command: click.Command) -> None:
    """Let the parameters of a command complete their names; of use for nothing but that."""
    for param in command.params:
        if param.name in NAMES:
            param.type = Known(NAMES[param.name])


def asked() -> bool:
    """Whether a shell asks for completions."""
    return bool(os.environ.get(VARIABLE))


def answer(program: click.Command) -> int:
    """Print what fits behind the cursor, in the form of the shell that asks; never an error.

    Returns:
        The exit status: 0, or 1 where no answer could be given.
    """
    shell, _, _ = os.environ[VARIABLE].partition("_")
    said = ""
    with _silence():
        said = _completions(shell, program).complete()
    if said:
        click.echo(said)
    return 0 if said else 1


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that lets a shell complete commands, options and names.

    Names are those of configs, rules, methods and benchmarks, and of what is in the workspace.
    Write the script where the shell looks for it, and open a new shell; zsh looks in the folders
    of its fpath.

    \b
    Example:
      srprune completion bash > ~/.local/share/bash-completion/completions/srprune
      srprune completion zsh > ~/.zfunc/_srprune
      srprune completion fish > ~/.config/fish/completions/srprune.fish
    """
    script = _completions(shell, click.get_current_context().find_root().command)
    # not source(), which runs bash to ask for its version
    click.echo(script.source_template % script.source_vars())


def _completions(shell: str, program: click.Command) -> ShellComplete:
    kind = get_completion_class(shell)
    assert kind is not None, shell
    return kind(program, {}, PROGRAM, VARIABLE)


def _workspace(ctx: click.Context) -> Workspace:
    """That of the command line so far."""
    given: Any = ctx.params.get("workspace")
    if isinstance(given, Workspace):
        return given
    return Workspace.resolve(Path(given) if given else None)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep errors and warnings off the line that a person is typing."""
    with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(Exception, SystemExit):
        yield
