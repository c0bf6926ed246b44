"""Area of the NFU after synthesis, before placement: iCE40 LUT4s, flip-flops and block RAMs.

    python benchmarks/bench_nfu_area.py

8-bit activations, sums of 20 bits, one term of 8 exponents a lane, buffers of 256 words; scales of
two terms of 8 exponents.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from hwgen.nfu.config import DyadicLane, NfuConfig, Segments
from hwgen.nfu.verilog import emit
from hwgen.toolchain.synthesis import SynthesisJob, synthesise

BASE = NfuConfig(
    accumulator_width=20, product_width=28, scale_terms=2, scale_exponents=8, address_width=16
)
KINDS = {
    "4 x 4": BASE,
    "4 x 4, NFU-3 of 4 lanes": replace(BASE, nfu3_lanes=4),
    "4 x 4, lanes of two terms": replace(BASE, lane=DyadicLane(2, 8)),
    "4 x 4, maxima": replace(BASE, maximum=True),
    "4 x 4, functions of 16 segments": replace(BASE, function=Segments(16, 10)),
    "8 x 8": replace(BASE, tn=8, ti=8),
}


def main() -> None:
    print("| NFU | LUT4 | FF | EBR |")
    print("|---|---|---|---|")
    for name, config in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            sources = {"nfu.v": emit(config)}
            (result,) = synthesise(SynthesisJob(sources, "nfu", "ice40", Path(folder)))
        area = result.area
        print(f"| {name} | {area.luts:,} | {area.ffs:,} | {area.brams} |", flush=True)


if __name__ == "__main__":
    main()
