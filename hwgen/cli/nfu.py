"""``hwgen nfu``: programs of the NFU as text, as words, in the executor and in the cycle model."""

from __future__ import annotations

from pathlib import Path

import click

from hwgen.cli._console import print_json
from hwgen.cli._nfu import PICTURE, timing_of, timing_options
from hwgen.cli._options import JSON
from hwgen.cli._result import write_file
from hwgen.cli._table import print_table
from hwgen.cli.nfu_layers import layers
from hwgen.nfu.assembler import disassemble
from hwgen.nfu.chart import draw_trace, render
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.cycles import count_cycles, schedule
from hwgen.nfu.files import image_bytes, load_image, read_program, to_bytes, to_hex
from hwgen.nfu.golden import execute
from hwgen.nfu.isa import FIELDS, Instruction
from hwgen.nfu.memory import MemoryImage
from hwgen.nfu.metrics import bandwidth, moved_bytes

__all__ = ["nfu"]

_PATH = click.Path(path_type=Path, dir_okay=False)
_PROGRAM = click.argument("program", type=_PATH, metavar="PROGRAM")
_IMAGE = click.argument("image", type=_PATH, metavar="IMAGE.npz")


@click.group(short_help="Assemble, run and time programs of the NFU.")
def nfu() -> None:
    """Work with programs of the NFU, the programmable layer processor.

    A PROGRAM is text (one instruction a line; any suffix), words in hexadecimal digits, a line an
    instruction (.hex), or bytes (.bin). IMAGE.npz holds the memory that it works on and the
    parameters of the NFU. docs/nfu.md explains the instructions.

    \b
        hwgen nfu asm sums.nfu --out sums.hex
        hwgen nfu disasm sums.hex
        hwgen nfu run sums.nfu image.npz
        hwgen nfu cycles sums.nfu image.npz --latency 20 --rate sb=1/4
        hwgen nfu trace sums.nfu image.npz --out sums.png

    'hwgen nfu layers' works on a directory of the other commands of hwgen, and writes the program
    and the image of its network:

    \b
        hwgen nfu layers out/face --tile 8x8 --save out/face-nfu
    """


nfu.add_command(layers)


@nfu.command(short_help="Text to instruction words.")
@_PROGRAM
@click.option(
    "--out",
    type=_PATH,
    metavar="FILE",
    help="Write to FILE: bytes if it ends in .bin, hexadecimal words if in .hex. By default "
    "hexadecimal words are printed.",
)
@JSON
def asm(program: Path, out: Path | None, as_json: bool) -> None:
    """Assemble PROGRAM into instruction words.

    A line is an instruction: slots divided by '|', each a name and the fields that are not 0.
    '#' begins a comment, and a line that ends in '\\' goes on in the next.

    \b
        SB size=2 rows=2 | NBIN size=2 positions=1 | NBOUT groups=1 store=1 target=2 \\
          | NFU op=MULT
        CP end=1
    \b
        hwgen nfu asm sums.nfu
        hwgen nfu asm sums.nfu --out sums.bin
    """
    instructions = read_program(program)
    if out is not None:
        if out.suffix not in (".bin", ".hex"):
            raise click.UsageError(f"--out must end in .bin or .hex, not {out.suffix!r}")
        binary = out.suffix == ".bin"
        write_file(out, to_bytes(instructions) if binary else to_hex(instructions).encode())
    if as_json:
        print_json({"words": to_hex(instructions).split()})
    elif out is None:
        click.echo(to_hex(instructions), nl=False)


@nfu.command(short_help="Instruction words to text.")
@_PROGRAM
@click.option("--out", type=_PATH, metavar="FILE", help="Write to FILE instead of printing.")
@JSON
def disasm(program: Path, out: Path | None, as_json: bool) -> None:
    """Write PROGRAM as text, which 'hwgen nfu asm' reads back.

    \b
        hwgen nfu disasm sums.hex
        hwgen nfu disasm sums.bin --out sums.nfu
    """
    instructions = read_program(program)
    text = disassemble(instructions)
    if out is not None:
        write_file(out, text.encode())
    if as_json:
        print_json({"instructions": [_fields(one) for one in instructions]})
    elif out is None:
        click.echo(text, nl=False)


@nfu.command(short_help="Run in the golden executor.")
@_PROGRAM
@_IMAGE
@click.option(
    "--out", type=_PATH, metavar="AFTER.npz", help="Write memory as it is after the program."
)
@JSON
def run(program: Path, image: Path, out: Path | None, as_json: bool) -> None:
    """Run PROGRAM on IMAGE.npz exactly, and print what it stores.

    A program that breaks a rule is refused: one that reads what nothing wrote, overwrites what a
    run still reads, or loads what is not stored yet.

    \b
        hwgen nfu run sums.nfu image.npz
        hwgen nfu run sums.nfu image.npz --out after.npz
    """
    config, memory = load_image(image)
    done = execute(config, read_program(program), memory)
    if out is not None:
        after = MemoryImage(memory.rows, memory.tables, done.activations)
        write_file(out, image_bytes(config, after))
    if as_json:
        stores = [{"address": one.address, "values": one.values} for one in done.stores]
        print_json({"stores": stores})
        return
    rows = [(str(s.address), " ".join(map(str, s.values))) for s in done.stores]
    print_table(("word", "values"), rows, numbers=("word",))


@nfu.command(short_help="Count cycles, and why it waits.")
@_PROGRAM
@_IMAGE
@timing_options
@JSON
def cycles(
    program: Path,
    image: Path,
    latency: int,
    rates: tuple[tuple[str, int, int], ...],
    as_json: bool,
) -> None:
    """Count the cycles of PROGRAM, which are those of the hardware, and its stalls by cause.

    The program is run first, since only one that keeps the rules has these cycles.

    \b
        hwgen nfu cycles sums.nfu image.npz
        hwgen nfu cycles sums.nfu image.npz --latency 20 --rate sb=1/4 --rate nbin=1/2
    """
    config, _, instructions = _checked(program, image)
    timing = timing_of(latency, rates)
    count = count_cycles(config, instructions, timing)
    moved = moved_bytes(config, instructions)
    if as_json:
        print_json(
            {
                "cycles": count.total,
                "rows": count.busy,
                "stalls": count.stalls,
                "starts": count.starts,
                "bytes": moved,
                "bandwidth": bandwidth(config, timing),
            }
        )
        return
    lines = [("cycles until done", count.total), ("rows issued", count.busy)]
    lines += [(f"stall: {cause}", n) for cause, n in count.stalls.items() if n]
    rows = [(what, f"{n:,}", f"{n / count.total:.1%}") for what, n in lines]
    rows += [
        (f"{port}: bytes moved", f"{n:,}", f"{n / count.total:.2f} a cycle")
        for port, n in moved.items()
    ]
    print_table(("", "number", "share"), rows, numbers=("number", "share"))


@nfu.command(short_help="Draw units and buffers over cycles.")
@_PROGRAM
@_IMAGE
@timing_options
@click.option(
    "--out", type=PICTURE, required=True, metavar="FILE", help="Picture: .png, .svg or .pdf."
)
@click.option("--from", "begin", type=click.IntRange(0), default=0, metavar="CYCLE", help="First.")
@click.option("--to", "end", type=click.IntRange(1), metavar="CYCLE", help="Last; by default all.")
@JSON
def trace(
    program: Path,
    image: Path,
    latency: int,
    rates: tuple[tuple[str, int, int], ...],
    out: Path,
    begin: int,
    end: int | None,
    as_json: bool,
) -> None:
    """Draw what the loaders, the run and the store do in each cycle, and the words of the buffers.

    Stalls are coloured by their cause. A chart of more than some thousand cycles shows little: name
    those of interest.

    \b
        hwgen nfu trace sums.nfu image.npz --out sums.png
        hwgen nfu trace sums.nfu image.npz --latency 20 --from 400 --to 900 --out part.svg
    """
    config, memory, instructions = _checked(program, image)
    found = schedule(config, instructions, timing_of(latency, rates))
    last = found.total if end is None else end
    if begin > min(last, found.total):
        raise click.UsageError(f"--from must be at most {min(last, found.total)}, not {begin}")
    figure = draw_trace(config, instructions, memory.rows, found, window=(begin, last + 1))
    write_file(out, render(figure, out.suffix))
    if as_json:
        spans = [
            {
                "unit": span.unit,
                "instruction": span.instruction,
                "begin": span.begin,
                "end": span.end,
                "stall": span.cause,
            }
            for span in found.spans()
            if span.end >= begin and span.begin <= last
        ]
        print_json({"cycles": found.total, "spans": spans})


def _checked(program: Path, image: Path) -> tuple[NfuConfig, MemoryImage, tuple[Instruction, ...]]:
    config, memory = load_image(image)
    instructions = read_program(program)
    execute(config, instructions, memory)
    return config, memory, instructions


def _fields(one: Instruction) -> dict[str, object]:
    """Fields that are not 0."""
    values: dict[str, object] = {}
    for spec in FIELDS:
        value = getattr(one, spec.attribute)
        if value:
            name = f"{spec.slot} {spec.name}"
            values[name] = value if spec.values is None else spec.values(value).name
    return values
