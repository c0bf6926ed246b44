"""Programs loaded into a whole board, pin by pin: network after network, noise, and lost power."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from networks import NETWORKS, images_for
from nfu_networks import random_layers

from hwgen.boards import find_board
from hwgen.boards.top import top_name, top_verilog
from hwgen.errors import LinkError
from hwgen.integer.types import IntegerNetwork
from hwgen.link.driver import Link, Port
from hwgen.link.loading import load_payloads
from hwgen.link.protocol import Command
from hwgen.link.simulated import simulated_board
from hwgen.nfu.compile import compile_network
from hwgen.nfu.design import NfuBuild
from hwgen.nfu.elements import ElementFrames
from hwgen.nfu.loadable import program_of
from hwgen.nfu.loadable_design import build_loadable
from hwgen.sim.golden import run
from hwgen.stream.programs import Program

_BAUD = 3_000_000  # 4 cycles a bit at 12 MHz


class _Case:
    """Hardware with room for two networks, and what each of them needs."""

    def __init__(self, build_dir: Path) -> None:
        rng = np.random.default_rng(4)
        self.networks = (NETWORKS["classifier"](), random_layers(rng, layers=2, size=4))
        self.built: NfuBuild = build_loadable(
            self.networks[0], self.networks[1:], tile=(2, 2), single_port=True
        )
        self.build_dir = build_dir
        self.verilog = self.built.design.verilog + top_verilog(
            self.built.design, find_board("icebreaker"), baud=_BAUD
        )
        plan = self.built.plan
        assert plan.room is not None
        self.programs: list[Program] = []
        self.frames: list[ElementFrames] = []
        for network in self.networks:
            compiled = compile_network(network, plan.config)
            self.programs.append(program_of(plan.config, plan.room, compiled))
            width = plan.room.result_width
            self.frames.append(ElementFrames(compiled, plan.config.activation_width, width))

    @contextmanager
    def board(self) -> Iterator[str]:
        """The port of a board that was just configured."""
        name = top_name(self.built.design)
        with simulated_board(
            self.verilog, top=name, divisor=4, build_dir=self.build_dir, patience=100_000
        ) as port:
            yield port

    @contextmanager
    def link(self) -> Iterator[Link]:
        """A link to a board that was just configured."""
        with self.board() as port, Link.open(port, baud=_BAUD, timeout=60, retries=2) as link:
            yield link

    def check(self, link: Link, number: int) -> None:
        """The board holds this network, and its results are the golden model's."""
        network: IntegerNetwork = self.networks[number]
        link.check(self.built.design, self.programs[number])
        images = images_for(network, 2, number)
        answers = list(link.run_all(self.frames[number], images))
        found = np.stack([answer.output for answer in answers])
        np.testing.assert_array_equal(found, run(network, images))


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> _Case:
    return _Case(tmp_path_factory.mktemp("simulators"))


def test_one_bitstream_runs_one_network_after_another(case: _Case) -> None:
    parts: list[tuple[int, int]] = []
    with case.link() as link:
        case.check(link, 0)
        with pytest.raises(LinkError, match=r"another program \(hash [0-9a-f]{16}\).* --load"):
            link.check(case.built.design, case.programs[1])
        info = link.load(case.built.design, case.programs[1], lambda *done: parts.append(done))
        assert info.program == case.programs[1].hash != case.programs[0].hash
        case.check(link, 1)
        link.load(case.built.design, case.programs[0])
        case.check(link, 0)
    assert parts == [(k + 1, len(parts)) for k in range(len(parts))]
    assert len(parts) >= 7  # begin, five memories, commit


class _Spoilt:
    """A port that does something instead of the write of number ``at``."""

    def __init__(self, port: Port, at: int, act: Callable[[bytes], object]) -> None:
        self.port = port
        self.at = at
        self.act = act
        self.writes = 0

    def read(self, size: int, /) -> bytes:
        return self.port.read(size)

    def write(self, data: bytes, /) -> int | None:
        self.writes += 1
        if self.writes == self.at:
            self.act(data)
            return len(data)
        return self.port.write(data)

    def close(self) -> None:
        self.port.close()


def test_noise_in_the_middle_of_a_program(case: _Case) -> None:
    """A part is damaged, one is cut off, and bytes come that look like the start of a frame."""
    with case.link() as link:
        port = link._port

        def spoil(data: bytes) -> None:
            bad = bytearray(data)
            bad[len(bad) // 2] ^= 4
            port.write(bytes(bad))

        link._port = _Spoilt(port, 5, spoil)
        link.load(case.built.design, case.programs[1])
        link._port = _Spoilt(port, 6, lambda data: port.write(data[: len(data) // 2] + b"\xa5\xff"))
        link._timeout = 3.0
        link.load(case.built.design, case.programs[0])
        link._port = port
        link._timeout = 60.0
        case.check(link, 0)


def test_lost_power_in_the_middle_of_a_program(case: _Case) -> None:
    """The board begins again with the program of its bitstream, and is loaded from the start."""
    with ExitStack() as stack:
        first = stack.enter_context(case.link())
        second = stack.enter_context(case.link())
        port = _Spoilt(first._port, 5, lambda data: None)

        def cut(data: bytes) -> None:
            port.port = second._port
            port.write(data)

        port.act = cut
        link = Link(port, baud=_BAUD, timeout=60, retries=2)
        link.load(case.built.design, case.programs[1])
        assert port.writes > len(list(load_payloads(case.built.design.loading, case.programs[1])))
        case.check(link, 1)


def test_an_image_without_a_whole_program_is_refused(case: _Case) -> None:
    loading = case.built.design.loading
    assert loading is not None
    begin, *_ = load_payloads(loading, case.programs[0])
    with case.link() as link:
        link._request(Command.LOAD, begin, Command.LOADED, 0)
        with pytest.raises(LinkError, match="board holds no program, and"):
            link.check(case.built.design)
        with pytest.raises(LinkError, match="refused: it holds no whole program: load one"):
            link.run(case.frames[0], images_for(case.networks[0], 1, 0)[0])
