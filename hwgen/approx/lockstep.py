"""Two networks run side by side, the second as far as the first needs it.

A network that has been approximated or slimmed is fitted layer after layer to a reference: the node
of the same name, which reads its own exact tensors. Where nothing differs yet both share them.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from hwgen.approx.moments import Moments, patch_moments
from hwgen.network.execute import Tensor, apply
from hwgen.network.types import Conv, Network, Node, Op

__all__ = ["Lockstep", "Reading"]

_BATCH = 64


@dataclass(frozen=True, eq=False)
class Reading:
    """What a node reads.

    ``seen`` (N, C, H, W) are its inputs; ``other`` is the reference's node of the same name, None
    if there is none, and ``exact`` what that reads.
    """

    seen: tuple[Tensor, ...]
    other: Node | None
    exact: tuple[Tensor, ...]

    def shared(self, op: Op) -> bool:
        """Whether the operator ``op`` puts out here what the reference does."""
        return self.other is not None and op is self.other.op and self._same

    @property
    def _same(self) -> bool:
        pairs = zip(self.seen, self.exact, strict=False)
        return len(self.seen) == len(self.exact) and all(x is y for x, y in pairs)

    def moments(self, node: Node) -> Moments:
        """Moments of what the linear layer ``node`` reads, with the outputs that it should have.

        Those are the reference's.

        Raises
        ------
        ValueError
            If the layer has not the form that it has in the reference.
        """
        op, other = node.op, None if self.other is None else self.other.op
        assert isinstance(op, Conv)
        if not isinstance(other, Conv) or _form(op) != _form(other):
            raise ValueError(f"Layer {node.name!r} must have the form that it has in the reference")
        return patch_moments(other, self.exact[0], None if self._same else self.seen[0])


def _form(op: Conv) -> tuple[object, ...]:
    return (op.weight.shape, op.strides, op.pads, op.dilations, op.groups)


class Lockstep:
    """Tensors of a network and of its reference, which is run along.

    Each node of the network is read and then written, in order. All tensors that are still needed
    are kept for all images.

    Parameters
    ----------
    network
        Names the nodes and what they read; its operators play no part.
    reference
        Network of the same input.
    images
        Images (N, C, H, W), which are run in float32.
    """

    def __init__(self, network: Network, reference: Network, images: Tensor) -> None:
        x = np.asarray(images, dtype=np.float32)
        self._seen = _Tensors(network.input_name, x, [node.inputs for node in network.nodes])
        self._others = {node.name: node for node in reference.nodes}
        self._pending = deque(reference.nodes)
        names = {node.name for node in network.nodes}
        # read to be run, and once more to be compared with
        again = [node.inputs for node in reference.nodes if node.name in names]
        reads = [*(node.inputs for node in reference.nodes), *again]
        self._exact = _Tensors(reference.input_name, x, reads)

    def read(self, node: Node) -> Reading:
        """What ``node`` of the network reads; only once a node."""
        seen, other = self._seen.take(node.inputs), self._others.get(node.name)
        if other is None:
            return Reading(seen, None, ())
        while not self._exact.hold(other.inputs):
            self._step()
        return Reading(seen, other, self._exact.take(other.inputs))

    def write(self, name: str, op: Op, reading: Reading) -> None:
        """Apply ``op``, which the node ``name`` may have become, to what it has read."""
        y = None
        if reading.shared(op):
            while any(node.name == name for node in self._pending):
                self._step()
            y = self._exact.get(name)
        self._seen.put(name, _applied(op, reading.seen) if y is None else y)

    def _step(self) -> None:
        node = self._pending.popleft()
        self._exact.put(node.name, _applied(node.op, self._exact.take(node.inputs)))


class _Tensors:
    """Tensors that are held until they have been taken as often as they are read."""

    def __init__(self, name: str, x: Tensor, reads: Iterable[tuple[str, ...]]) -> None:
        self._uses = Counter(each for names in reads for each in names)
        self._held: dict[str, Tensor] = {}
        self.put(name, x)

    def put(self, name: str, x: Tensor) -> None:
        """Hold the tensor ``name`` if anything reads it."""
        if self._uses[name]:
            self._held[name] = x

    def get(self, name: str) -> Tensor | None:
        """The tensor ``name``, None if it is not held; that does not count as a use."""
        return self._held.get(name)

    def hold(self, names: Collection[str]) -> bool:
        """Whether all of ``names`` are held."""
        return all(name in self._held for name in names)

    def take(self, names: tuple[str, ...]) -> tuple[Tensor, ...]:
        """Use the tensors ``names``, which must be held."""
        taken = tuple(self._held[name] for name in names)
        for name in names:
            self._uses[name] -= 1
            if not self._uses[name]:
                del self._held[name]
        return taken


def _applied(op: Op, xs: tuple[Tensor, ...]) -> Tensor:
    batches = range(0, len(xs[0]), _BATCH)
    return np.concatenate([apply(op, [x[at : at + _BATCH] for x in xs]) for at in batches])
