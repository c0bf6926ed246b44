"""What a memory becomes: figures of the data sheets and of Yosys's own weighing."""

import pytest

from hwgen.estimate.memories import GEOMETRIES, Mapped, Memory, mapped


@pytest.mark.parametrize(
    ("family", "memory", "expected"),
    [
        ("ice40", Memory(256, 16, False), Mapped(blocks=1)),
        ("ice40", Memory(257, 16, False), Mapped(blocks=2)),
        ("ice40", Memory(4, 8, False), Mapped(ram_bits=32)),
        ("ice40", Memory(16, 20, True), Mapped(rom_bits=320)),
        ("ice40", Memory(108, 63, True), Mapped(blocks=4)),
        ("ecp5", Memory(512, 36, False), Mapped(blocks=1)),
        ("ecp5", Memory(42, 72, False), Mapped(blocks=2)),
        ("ecp5", Memory(18, 15, False), Mapped(lutrams=8, mux=15)),
        ("ecp5", Memory(16, 8, False), Mapped(lutrams=2)),
        ("ecp5", Memory(64, 43, False), Mapped(lutrams=44, mux=129)),
        ("ecp5", Memory(66, 42, False), Mapped(blocks=2)),
        ("ecp5", Memory(525, 27, True), Mapped(blocks=2)),
        ("ecp5", Memory(16, 112, True), Mapped(rom_bits=1792)),
        ("ice40", Memory(600, 20, True), Mapped(blocks=4, mux=40)),
        ("gowin", Memory(20, 9, False), Mapped(lutrams=6, mux=9)),
    ],
)
def test_a_memory_becomes_what_is_cheapest(family: str, memory: Memory, expected: Mapped) -> None:
    assert mapped(memory, GEOMETRIES[family]) == expected


def test_reading_what_is_written_makes_blocks_dearer() -> None:
    memory = Memory(9, 8, False)
    assert mapped(memory, GEOMETRIES["ice40"], meets=False) == Mapped(blocks=1)
    assert mapped(memory, GEOMETRIES["ice40"]) == Mapped(ram_bits=72)
