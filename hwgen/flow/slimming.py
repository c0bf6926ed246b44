"""The stage ``slim``: fewer features and smaller kernels within the accuracy budget.

It puts a slimmed network beside the imported one (:mod:`hwgen.flow.source`), and later stages work
on that. Every loss stays measured against the imported network: the budget of a stage is what the
network behind it may lose in all.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass, field

from hwgen.errors import DataError
from hwgen.finetune.finetune import require_torch
from hwgen.flow.accuracy import change
from hwgen.flow.data import Splits, count_classes, load_images, split
from hwgen.flow.options import SlimOptions
from hwgen.flow.progress import Progress
from hwgen.flow.results import result_text
from hwgen.flow.slim_run import Slimming, slim_network
from hwgen.flow.source import NETWORK, SLIM, SLIM_FILES, load_network
from hwgen.flow.workspace import Workspace
from hwgen.serial import dumps, loads
from hwgen.slim import store as slim_store
from hwgen.slim.moves import MOVES, describe
from hwgen.slim.search import Step

__all__ = ["slim"]

_STAGE, _TEST = "slim", "slim_test"
_CSV, _FOUND, _RESULT, _UNFINISHED = SLIM_FILES


def slim(workspace: Workspace, options: SlimOptions, progress: Progress) -> None:
    """Slim the imported network; write ``slim.json``, ``slim.csv`` and ``results/slim.json``.

    The test images choose nothing: other ones do not repeat the search. An interrupted search goes
    on where it stopped, and what an earlier one found stays until this one has ended.

    Raises
    ------
    DataError
        If there is nothing to slim, or the images do not fit the network.
    ToolNotFoundError
        If what is left is to be trained and PyTorch is not installed.
    """
    network = load_network(workspace)
    if not any(True for _ in network.convs()):
        raise DataError(f"Network {network.name!r} has no linear layer, so nothing can be slimmed")
    if options.finetune:
        # only the result is trained, but a long search should not end in this
        require_torch()
    classes = count_classes(network)

    def splits() -> Splits:
        data = load_images(options.data, network.input_shape, classes)
        test = None
        if options.test is not None:
            test = load_images(options.test, network.input_shape, classes)
        return split(data, test, seed=options.seed, calibration=options.calibration)

    def find() -> None:
        # unfit test images, which the search does not need, are refused here too
        images = splits()
        memory = _StepMemory.open(workspace, key)
        found = slim_network(
            network, images, options, progress, known=memory.steps, keep=memory.keep
        )
        choosing = change(network, found.slimmed.network, images.choosing)
        files = {
            SLIM: slim_store.to_json(found.slimmed),
            _CSV: _trajectory(found),
            _FOUND: result_text(found.record() | {"choosing": asdict(choosing)}),
        }
        workspace.write_together(files)
        memory.forget()

    def measure() -> None:
        slimmed = slim_store.from_json(workspace.path(SLIM).read_text())
        found = json.loads(workspace.path(_FOUND).read_text())
        progress("Accuracy", 0.0)
        test = asdict(change(network, slimmed.network, splits().test))
        progress("Accuracy", 1.0)
        workspace.write(_RESULT, result_text(found | {"test": test}))

    chosen = options.of_search()
    reads = [workspace.path(NETWORK), options.data]
    key = workspace.key(_STAGE, reads, chosen)
    workspace.run(_STAGE, find, reads=reads, writes=[SLIM, _CSV, _FOUND], options=chosen)
    reads = [workspace.path(SLIM), workspace.path(_FOUND), options.data]
    reads += [options.test] if options.test is not None else []
    workspace.run(_TEST, measure, reads=reads, writes=[_RESULT], options={})


@dataclass(frozen=True)
class _StepMemory:
    """Steps of the unfinished search that ``key`` identifies."""

    workspace: Workspace
    key: str
    steps: list[Step] = field(default_factory=list)

    @classmethod
    def open(cls, workspace: Workspace, key: str) -> _StepMemory:
        """The memory of the search ``key``: empty if the last unfinished search was another one."""
        try:
            text = workspace.path(_UNFINISHED).read_text()
            held = loads(text, (Step, *MOVES), tuple)
        except (OSError, DataError):
            held = ("",)
        own = held[1:] if held[:1] == (key,) else ()
        steps = [step for step in own if isinstance(step, Step)]
        # a search that has not come to its first move has nothing to go on from
        return cls(workspace, key, steps if any(step.moves for step in steps) else [])

    def keep(self, step: Step) -> None:
        """Remember one more step."""
        self.steps.append(step)
        self.workspace.write(_UNFINISHED, dumps((self.key, *self.steps)))

    def forget(self) -> None:
        """Remove everything, because the search has ended."""
        self.workspace.path(_UNFINISHED).unlink(missing_ok=True)


def _trajectory(found: Slimming) -> str:
    """CSV: a row a step with the cost behind it, its share of the original, and the losses."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("step", "cost", "share", "loss", "spoiled", "error", "moves"))
    whole = found.steps[0].cost or 1.0
    for number, step in enumerate(found.steps):
        share = step.cost / whole
        numbers = (step.cost, share, step.loss, step.spoiled, step.error)
        writer.writerow((number, *map(repr, numbers), "; ".join(map(describe, step.moves))))
    return buffer.getvalue()
