"""Activations of an NFU in single-port RAM of iCE40 UltraPlus, all else in block RAM."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from amaranth.hdl import ClockSignal, Instance, Module, Mux, Signal

from hwgen.errors import UnsupportedError
from hwgen.nfu.blockram import BlockMemory, word_part
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.isa import Instruction
from hwgen.nfu.memory import MemoryImage
from hwgen.nfu.timing import Timing

__all__ = ["SPRAM_VERILOG", "SpramMemory"]

SPRAM_VERILOG = """
// Memory with one port, of which Yosys makes single-port RAM (blocks of 16,384 words of 16 bits),
// one for each part of a word. The word that was read stays until the next is read.
module nfu_spram #(parameter WIDTH = 32, PARTS = 1, DEPTH = 16384, BITS = 14) (
  input clk, input enable, input [PARTS-1:0] write, input [BITS-1:0] address,
  input [WIDTH-1:0] data, output [WIDTH-1:0] word);
  localparam PART = WIDTH / PARTS;
  genvar k;
  generate
    for (k = 0; k < WIDTH; k = k + PART) begin : parts
      (* ram_style = "huge" *) reg [PART-1:0] memory [0:DEPTH-1];
      reg [PART-1:0] part;
      always @(posedge clk)
        if (enable) begin
          if (write[k / PART]) memory[address] <= data[k +: PART];
          else part <= memory[address];
        end
      assign word[k +: PART] = part;
    end
  endgenerate
endmodule
"""
"""Module of the memory, which a design with :class:`SpramMemory` needs."""


class SpramMemory(BlockMemory):
    """Like :class:`BlockMemory`, but activations share the one port of a single-port RAM.

    Loads have every even cycle of the program, stores every odd one. The RAM has no contents at
    the start: once the FPGA is configured it is filled with zeros, a word a cycle, before the first
    image is taken. A reset does not repeat this: images and programs leave the zeros that others
    need as they are.

    Raises
    ------
    UnsupportedError
        If there are activations other than 0 at the start.
    """

    def __init__(
        self, config: NfuConfig, program: Sequence[Instruction], image: MemoryImage
    ) -> None:
        if np.any(image.activations):
            raise UnsupportedError(
                "Single-port RAM begins with zeros, but the border of a padded maximum of signed "
                "values holds the least value; use block RAM"
            )
        super().__init__(config, program, image)

    @property
    def timing(self) -> Timing:
        """When each port works."""
        odd = np.array([False, True])
        return Timing(patterns={"nbin_words": odd, "store": odd})

    @property
    def bits(self) -> dict[str, int]:
        """Bits of each memory in block RAM, by what it holds."""
        return {what: bits for what, bits in super().bits.items() if what != "activations"}

    @property
    def single_port_bits(self) -> int:
        """Bits in single-port RAM."""
        return super().bits["activations"]

    def _activations(self, m: Module) -> None:
        tn, ti, width = self.config.tn, self.config.ti, self.config.activation_width
        both = max(tn, ti)
        depth = max(2, self.activation_words)
        bits = (depth - 1).bit_length()
        server = self._server(m, "nbin")
        clearing = Signal(init=1, reset_less=True)
        cleared = Signal(range(depth), reset_less=True)
        odd, writes = Signal(), Signal()  # cycle of the program; whose turn it is
        enable, mask = Signal(), Signal(both // tn)
        address, data, word = Signal(bits), Signal(both * width), Signal(both * width)
        m.submodules.activations = Instance(
            "nfu_spram",
            p_WIDTH=both * width,
            p_PARTS=both // tn,
            p_DEPTH=depth,
            p_BITS=bits,
            i_clk=ClockSignal(),
            i_enable=enable,
            i_write=mask,
            i_address=address,
            i_data=data,
            o_word=word,
        )
        m.d.sync += odd.eq(~odd & ~self.restart)
        read_part = (both // ti - 1).bit_length()
        shown = word_part(m, word, server.word_address[:read_part], ti * width)
        m.d.comb += [
            writes.eq(odd | self.restart),
            server.open.eq(~writes),
            server.word.eq(shown),
            enable.eq(Mux(writes, mask.any(), server.read)),
            address.eq(server.address[read_part:]),
        ]

        write_part = (both // tn - 1).bit_length()
        target = self.write.payload.address
        inside = target < depth * (both // tn)
        m.d.comb += self.write.ready.eq(writes & ~clearing)
        with m.If(clearing):
            m.d.comb += [address.eq(cleared), mask.eq(-1)]
            m.d.sync += [cleared.eq(cleared + 1), clearing.eq(cleared != depth - 1)]
        with m.Elif(writes):
            m.d.comb += [
                address.eq(target[write_part:]),
                data.eq(self.write.payload.word.replicate(both // tn)),
            ]
            with m.If(self.write.valid & inside):
                m.d.comb += mask.eq(1 << target[:write_part] if write_part else 1)
