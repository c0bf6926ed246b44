"""Slimming a network as a user asked for it, and what it made of every layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

import numpy as np

from hwgen.approx.recipes import mix_name, parse_recipe
from hwgen.approx.types import DyadicFilters
from hwgen.finetune.slim import finetune_slim
from hwgen.flow.data import Splits
from hwgen.flow.options import SlimOptions
from hwgen.flow.progress import Progress
from hwgen.flow.slim_objectives import cycles_objective, luts_objective
from hwgen.network.types import Conv, Network
from hwgen.nfu.config import NfuConfig
from hwgen.slim.account import memory_footprint
from hwgen.slim.compact import compact
from hwgen.slim.importance import channel_importance
from hwgen.slim.kernels import kernel_sizes
from hwgen.slim.moves import describe
from hwgen.slim.objectives import BYTES, MACS, Objective
from hwgen.slim.search import Effort, Settings, Step, search
from hwgen.slim.store import Slimmed

_T = TypeVar("_T")

__all__ = ["LayerChange", "Slimming", "slim_network", "slim_objective"]

_BLOCK = 4
"""Filters of one move if no tile asks for others."""

_TILE = (4, 4)
"""Tile of an NFU if none is given, as of 'hwgen generate'."""


@dataclass(frozen=True)
class LayerChange:
    """A linear layer before and after slimming, the second of each pair being after.

    ``filters`` are those with a weight other than 0. A kernel is what a filter has for one channel:
    ``kernels`` has the numbers of those of each size, such as ``{"3x3": 6}``, zeros left out.
    ``parameters`` are weights other than 0 and the biases of the filters, and ``macs`` those of an
    image. ``cost`` is by the objective.
    """

    name: str
    filters: tuple[int, int]
    kernels: tuple[Mapping[str, int], Mapping[str, int]]
    macs: tuple[int, int]
    parameters: tuple[int, int]
    cost: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Slimming:
    """What slimming found: the network, how each layer changed, and the way there.

    ``metric`` says what a loss is (:class:`~hwgen.approx.measure.Loss`); ``memory`` has the bytes
    before and after, at 32 bits a number, of the ``parameters``, of them and all tensors of an
    image (``running``), and of them and those tensors that are alive at once (``peak``). ``steps``
    are the trajectory, of which the last one is what was chosen.
    """

    slimmed: Slimmed
    options: SlimOptions
    metric: str
    layers: tuple[LayerChange, ...]
    memory: Mapping[str, tuple[float, float]]
    steps: tuple[Step, ...]
    effort: Effort

    def record(self) -> dict[str, object]:
        """Plain form of what is not stored elsewhere, for ``results/slim.json``."""
        options = self.options
        given = {"data": str(options.data), "test": options.test and str(options.test)}
        totals = {
            name: [sum(getattr(layer, name)[place] for layer in self.layers) for place in (0, 1)]
            for name in ("filters", "macs", "parameters", "cost")
        }
        return {
            "given": given,
            **{key: value for key, value in asdict(options).items() if key not in given},
            "metric": self.metric,
            "mix": self.slimmed.mix,
            "layers": [asdict(layer) for layer in self.layers],
            "total": totals,
            "memory": {name: list(pair) for name, pair in self.memory.items()},
            "steps": [
                {
                    "moves": [describe(move) for move in step.moves],
                    "cost": step.cost,
                    "loss": step.loss,
                    "spoiled": step.spoiled,
                    "error": step.error,
                }
                for step in self.steps
            ],
            "effort": asdict(self.effort),
        }


def slim_network(
    network: Network,
    splits: Splits,
    options: SlimOptions,
    progress: Progress,
    *,
    known: Sequence[Step] = (),
    keep: Callable[[Step], None] | None = None,
) -> Slimming:
    """Slim ``network`` as ``options`` say, and train what is left if they say so.

    ``splits.test`` plays no part.

    Parameters
    ----------
    known, keep
        Steps of an interrupted search of the same kind, and what takes each new one.
    """
    objective = slim_objective(network, options)
    calibration = splits.calibration.x
    importance = None
    if options.importance != "error":
        progress("Importance", 0.0)
        labels = splits.calibration.y
        importance = channel_importance(network, calibration, labels, method=options.importance)
        progress("Importance", 1.0)
    outcome = search(
        network,
        calibration,
        splits.choosing.x,
        splits.choosing.y,
        budget=options.budget,
        objective=objective,
        families=options.moves,
        method=options.search,
        importance=importance,
        settings=_settings(options),
        known=known,
        keep=keep,
        # one bar for what the search calls by how far it is
        progress=lambda task, share: progress(task.partition(" (")[0], share),
    )
    masked = outcome.network
    if options.finetune:
        given = splits.calibration.join(splits.choosing)
        masked = finetune_slim(
            network,
            masked,
            given.x,
            given.y,
            epochs=options.finetune,
            seed=options.seed,
            progress=progress,
        )
    small = compact(masked)
    slimmed = Slimmed(small, masked, _mix(small, outcome.state.recipes))
    return Slimming(
        slimmed,
        options,
        outcome.metric,
        layer_changes(network, masked, objective, outcome.filters),
        _memory(network, small),
        outcome.steps,
        outcome.effort,
    )


def slim_objective(network: Network, options: SlimOptions) -> Objective:
    """What ``options`` say is to be saved."""
    match options.objective:
        case "macs":
            return MACS
        case "bytes":
            return BYTES
        case "cycles":
            tn, ti = options.tile or _TILE
            return cycles_objective(NfuConfig(tn=tn, ti=ti, nfu3_lanes=max(1, tn // 4)))
        case "luts":
            return luts_objective(network, options.family)


def _memory(before: Network, after: Network) -> dict[str, tuple[float, float]]:
    prints = [memory_footprint(network) for network in (before, after)]
    return {
        "parameters": _pair(each.parameter_bytes for each in prints),
        "running": _pair(each.running_bytes for each in prints),
        "peak": _pair(each.peak_bytes for each in prints),
    }


def _mix(network: Network, recipes: Mapping[str, str]) -> str | None:
    """Text of the ``recipes`` for the layers of a compacted network; None if there are none.

    Layers that came with compaction only hand on or pick channels, which is exact by any recipe.
    """
    if not recipes:
        return None
    any_one = next(iter(recipes.values()))
    return mix_name(
        {node.name: parse_recipe(recipes.get(node.name, any_one)) for node, _ in network.convs()}
    )


def layer_changes(
    network: Network,
    masked: Network,
    objective: Objective,
    filters: Mapping[str, DyadicFilters],
) -> tuple[LayerChange, ...]:
    """How each linear layer of ``network`` changed, and layers that are new in ``masked``.

    ``filters`` are the dyadic ones of the latter, if it has any.
    """
    sides = [{node.name: op for node, op in each.convs()} for each in (network, masked)]
    costs = [objective(network), objective(masked, filters)]
    macs = [MACS(each) for each in (network, masked)]
    return tuple(
        LayerChange(
            name,
            _pair(_filters(ops.get(name)) for ops in sides),
            _pair(_kernels(ops.get(name)) for ops in sides),
            _pair(int(counts.get(name, 0)) for counts in macs),
            _pair(_parameters(ops.get(name)) for ops in sides),
            _pair(float(each.get(name, 0.0)) for each in costs),
        )
        for name in dict.fromkeys(name for ops in sides for name in ops)
    )


def _pair(values: Iterable[_T]) -> tuple[_T, _T]:
    before, after = values
    return before, after


def _filters(op: Conv | None) -> int:
    return 0 if op is None else int(op.weight.any(axis=(1, 2, 3)).sum())


def _kernels(op: Conv | None) -> dict[str, int]:
    """Kernels of each size, the largest first."""
    if op is None:
        return {}
    slices = op.weight.reshape(-1, 1, *op.kernel)
    sizes = kernel_sizes(Conv(slices, np.zeros(len(slices))))
    counts = Counter(map(tuple, sizes[sizes.all(axis=1)].tolist()))
    largest = sorted(counts, key=lambda size: (-size[0] * size[1], size))
    return {f"{height}x{width}": counts[height, width] for height, width in largest}


def _parameters(op: Conv | None) -> int:
    return 0 if op is None else int(np.count_nonzero(op.weight)) + _filters(op)


def _settings(options: SlimOptions) -> Settings:
    """An NFU saves nothing by less than a tile; everything else pays weight by weight."""
    if options.objective != "cycles":
        return Settings(block=_BLOCK, tile=(1, 1))
    tile = options.tile or _TILE
    return Settings(block=tile[0], tile=tile)
