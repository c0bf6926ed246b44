"""The group of commands, and the one place where errors become a sentence and an exit status."""

from __future__ import annotations

import sys

import click
from rich.text import Text

from hwgen import __version__
from hwgen.cli._console import ERRORS
from hwgen.cli.approximate import approximate
from hwgen.cli.boards import boards
from hwgen.cli.build import build
from hwgen.cli.complexity import complexity
from hwgen.cli.doctor import doctor
from hwgen.cli.estimate import estimate
from hwgen.cli.fit import fit
from hwgen.cli.flash import flash
from hwgen.cli.front import front
from hwgen.cli.generate import generate
from hwgen.cli.import_model import import_model
from hwgen.cli.nfu import nfu
from hwgen.cli.optimize import optimize
from hwgen.cli.plan import plan
from hwgen.cli.report import report
from hwgen.cli.run import run
from hwgen.cli.slim import slim
from hwgen.cli.synth import synth
from hwgen.cli.verify import verify
from hwgen.errors import HwgenError

__all__ = ["main"]

_FAILED, _INTERRUPTED = 1, 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="hwgen")
def hwgen() -> None:
    """Turn a trained convolutional network into verified hardware without multipliers.

    'hwgen build' does everything. Each stage is a command of its own that works on the same
    directory and continues from what is there:

    \b
        hwgen import face.onnx --out out/face
        hwgen slim out/face --data train.npz --test test.npz --budget 0.5%
        hwgen approximate out/face --data train.npz --test test.npz --budget 1%
        hwgen generate out/face
        hwgen verify out/face
        hwgen synth out/face --board ulx3s-25f
        hwgen report out/face

    Exit status: 0 done, 1 a check or a tool failed, 2 wrong usage, 130 interrupted.
    """


for command in (
    build,
    import_model,
    slim,
    approximate,
    front,
    estimate,
    plan,
    generate,
    verify,
    synth,
    flash,
    report,
    run,
    complexity,
    fit,
    optimize,
    nfu,
    doctor,
    boards,
):
    hwgen.add_command(command)


def main() -> None:
    """Run the command line and exit."""
    try:
        status = hwgen.main(prog_name="hwgen", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except HwgenError as error:
        # not as markup: a message may hold brackets, such as hwgen[dask]
        message = Text.assemble(("error:", "bold red"), f" {click.unstyle(str(error))}")
        ERRORS.print(message, soft_wrap=True)
        sys.exit(_FAILED)
    except (click.Abort, KeyboardInterrupt):
        ERRORS.print("Interrupted; the same command continues where this one stopped.")
        sys.exit(_INTERRUPTED)
    except MemoryError:
        ERRORS.print("[bold red]error:[/] There is not enough memory for this network.")
        sys.exit(_FAILED)
    except OSError as error:
        where = "" if error.filename is None else f": {error.filename}"
        ERRORS.print(f"[bold red]error:[/] {error.strerror}{where}", soft_wrap=True)
        sys.exit(_FAILED)
    sys.exit(status if isinstance(status, int) else 0)
