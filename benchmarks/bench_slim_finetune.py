"""What epochs of fine-tuning give back after slimming beyond what the budget allows.

    python benchmarks/bench_slim_finetune.py MODEL.onnx TRAIN.npz TEST.npz --moves kernels
        --target 0.65 [--epochs 2] [--copies mirrored] [--images 20000] [--out FILE.json]

Needs the extra ``train``. The network is slimmed by its own search, without a budget, until the
share ``--target`` of its multiplications is saved; then what is left is trained for so many epochs,
its zeros kept, with the outputs of the network before slimming as half of the target. Images of
TRAIN calibrate, choose moves, and train; TEST chooses nothing. Losses are against the network
before slimming, with the paired 95 % interval.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
from training_images import COPIES, right, with_copies

from hwgen.finetune.slim import finetune_slim
from hwgen.flow.data import Images, load_images
from hwgen.flow.intervals import paired_loss
from hwgen.network.onnx_import import import_onnx
from hwgen.network.types import Network
from hwgen.slim.moves import after, start
from hwgen.slim.objectives import MACS
from hwgen.slim.search import Settings, Step, search
from hwgen.slim.trial import Fitter

_FILE = click.Path(exists=True, path_type=Path)
_CALIBRATION = 512
_NO_BUDGET = 1.0


class _ReachedError(Exception):
    """The search has saved enough."""


def slimmed(
    network: Network, images: Images, target: float, moves: str, block: int, choosing: int
) -> Network:
    """``network`` with at least the share ``target`` of its multiplications saved, fitted."""
    calibration, chooses = (
        images.take(np.arange(_CALIBRATION)),
        images.take(np.arange(_CALIBRATION, _CALIBRATION + choosing)),
    )
    steps: list[Step] = []

    def keep(step: Step) -> None:
        steps.append(step)
        if step.cost <= (1 - target) * MACS.total(network):
            raise _ReachedError

    try:
        search(
            network,
            calibration.x,
            chooses.x,
            chooses.y,
            budget=_NO_BUDGET,
            objective=MACS,
            families=tuple(moves.split(",")),  # type: ignore[arg-type]
            settings=Settings(block=block, step=0.02),
            keep=keep,
        )
    except _ReachedError:
        pass
    else:
        raise click.ClickException(f"No moves are left before {target:.0%} are saved")
    state = after(network, start(network), [move for step in steps for move in step.moves])
    return Fitter(network, calibration.x).fit(state).network


@click.command()
@click.argument("model", type=_FILE)
@click.argument("train", type=_FILE)
@click.argument("test", type=_FILE)
@click.option("--moves", default="kernels", show_default=True)
@click.option("--target", default=0.65, show_default=True, help="Multiplications to save.")
@click.option("--block", default=2, show_default=True)
@click.option("--choosing", default=1000, show_default=True)
@click.option("--images", type=int, help="Images of TRAIN that train; all by default.")
@click.option("--copies", type=click.Choice(tuple(COPIES)))
@click.option("--epochs", default=2, show_default=True)
@click.option("--learning-rate", default=1e-2, show_default=True)
@click.option("--batch", default=16, show_default=True)
@click.option("--distillation", default=0.5, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path))
def main(
    model: Path,
    train: Path,
    test: Path,
    moves: str,
    target: float,
    block: int,
    choosing: int,
    images: int | None,
    copies: str | None,
    epochs: int,
    learning_rate: float,
    batch: int,
    distillation: float,
    seed: int,
    out: Path | None,
) -> None:
    network = import_onnx(model)
    given, testing = (load_images(path, network.input_shape) for path in (train, test))
    given = given.take(np.random.default_rng(seed).permutation(len(given)))
    begin = time.process_time()
    slim = slimmed(network, given, target, moves, block, choosing)
    searched = time.process_time()
    training = with_copies(given.take(np.arange(len(given))[:images]), copies)
    tuned = finetune_slim(
        network, slim, training.x, training.y, epochs=epochs, learning_rate=learning_rate,
        batch=batch, seed=seed, distillation=distillation,
    )  # fmt: skip
    seconds = [searched - begin, time.process_time() - searched]
    before = right(network, testing)
    result: dict[str, Any] = {
        "network": network.name,
        "moves": moves,
        "target": target,
        "saved": 1 - MACS.total(slim) / MACS.total(network),
        "epochs": epochs,
        "training_images": len(training),
        "seconds": seconds,
        "accuracy": float(before.mean()),
    }
    for name, each in (("slim", slim), ("tuned", tuned)):
        now = right(each, testing)
        result[name] = {"accuracy": float(now.mean()), **asdict(paired_loss(before, now))}
    click.echo(json.dumps(result, indent=1))
    cells = [network.name, moves, f"{result['saved']:.1%}", f"{before.mean():.2%}"]
    for name in ("slim", "tuned"):
        found = result[name]
        cells += [f"{found['accuracy']:.2%}", f"{found['loss']:.2%}"]
        cells += [f"{found['low']:.2%} to {found['high']:.2%}"]
    click.echo(f"| {' | '.join([*cells, f'{seconds[0]:.0f}', f'{seconds[1]:.0f}'])} |")
    if out is not None:
        out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
