"""The command ``srprune``: a lazy group of commands, and the one place where errors end.

Exit status: 0 fine, 1 our fault, 2 usage or input, 130 interrupted (Ctrl-C), 141 nobody reads
what is printed, 143 stopped (SIGTERM) with a checkpoint.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from typing import Any, NoReturn

import click

from srprune.cli import completion
from srprune.cli.completion import PROGRAM
from srprune.cli.lazy_group import LazyGroup
from srprune.core.errors import SrpruneError
from srprune.core.out_of_memory import is_out_of_memory
from srprune.core.provenance import version

INTERRUPTED = 130
UNREAD = 141
RESUMED = (["pretrain"], ["train"], ["distill", "finetune"])  # these go on only if told to

# What the file system may refuse; a stage that knows more about it says it in better words.
SURROUNDINGS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENAMETOOLONG,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
}

# A stage that knows which of its settings takes most names that one.
NO_MEMORY = (
    "there is not enough memory. Free some, raise the limit that this process has, or ask for less "
    "at a time, as by --workers or batch."
)

# In the order of the pipeline, which is the order of --help.
COMMANDS = {
    "extract": "srprune.cli.extract:extract",
    "pretrain": "srprune.cli.pretrain:pretrain",
    "score": "srprune.cli.score:score",
    "select": "srprune.cli.select:select",
    "train": "srprune.cli.train:train",
    "eval": "srprune.cli.evaluate:evaluate",
    "route": "srprune.cli.route:route",
    "subnet": "srprune.cli.subnet:subnet",
    "distill": "srprune.cli.distill:distill",
    "run": "srprune.cli.chain:run",
    "study": "srprune.cli.study:study",
    "advise": "srprune.cli.advise:advise",
    "report": "srprune.cli.report:report",
    "export": "srprune.cli.export:export",
    "import": "srprune.cli.import_list:import_list",
    "download": "srprune.cli.download:download",
    "inspect": "srprune.cli.inspect:inspect",
    "list": "srprune.cli.list_names:list_names",
    "doctor": "srprune.cli.doctor:doctor",
    "completion": "srprune.cli.completion:completion",
}


class Program(LazyGroup):
    """All commands."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; where nobody reads on, as in '| head -1', end without a word."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # click itself would exit with 1, which means a fault of ours
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left goes here
            return UNREAD


@click.group(cls=Program, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version(), prog_name="srprune")
def cli() -> None:
    """Dataset pruning for image super-resolution (SR).

    Keep the part of your training data that teaches, drop the rest, and prove that nothing was
    lost. The paper's pipeline, in six commands:

    \b
      srprune extract DIV2K_train_HR
      srprune pretrain
      srprune score
      srprune select --ratio 0.5 --offset 0.05
      srprune train --config fsrcnn_x2.yaml
      srprune eval
    """


def main() -> NoReturn:
    """Run the command line; every error ends here as one clear line."""
    if completion.asked():
        sys.exit(completion.answer(cli))
    try:
        status: Any = cli.main(prog_name=PROGRAM, standalone_mode=False)
    except SrpruneError as error:
        _fail(str(error), error.exit_status)
    except click.ClickException as error:
        _usage(error)
    except (click.Abort, KeyboardInterrupt):
        resumed = any(sys.argv[1 : 1 + len(words)] == words for words in RESUMED)
        resume = " with --resume" if resumed else ""
        _fail(f"interrupted. Give the same command again{resume} to go on.", INTERRUPTED)
    except Exception as error:
        if is_out_of_memory(error):
            _fail(NO_MEMORY, 2)
        if isinstance(error, OSError) and error.errno in SURROUNDINGS:
            where = f": {error.filename}" if error.filename else ""
            few = error.errno == errno.EMFILE
            remedy = " Raise the limit (ulimit -n), or lower --workers." if few else ""
            _fail(f"{error.strerror}{where}.{remedy}", 2)
        _our_fault(error)
    sys.exit(status if isinstance(status, int) else 0)


def _usage(error: click.ClickException) -> NoReturn:
    """One line where click would write four; the help itself where nothing was asked for."""
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):  # click >= 8.2
        error.show()
        sys.exit(error.exit_code)
    context = getattr(error, "ctx", None)
    message = " ".join(error.format_message().split())
    end = "" if message.endswith((".", "?")) else "."
    hint = f" See '{context.command_path} --help'." if context else ""
    _fail(message + end + hint, error.exit_code)


def _our_fault(error: Exception) -> NoReturn:
    traceback.print_exc()
    _fail(
        f"srprune itself failed ({type(error).__name__}); this is our fault, not yours. "
        "Please report it with the lines above.",
        1,
    )


def _fail(message: str, status: int) -> NoReturn:
    rank = os.environ.get("RANK", "0")  # torchrun: the others say the same, as a rule
    click.echo(f"Error{'' if rank == '0' else f' in process {rank}'}: {message}", err=True)
    sys.exit(status)
