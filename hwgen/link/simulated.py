"""A simulated board behind a pseudo terminal: what talks to a serial port talks to it.

The Verilog of the whole top is compiled with a program that has a UART of its own on the pins of
the top's; every bit passes there.
"""

from __future__ import annotations

import contextlib
import os
import tty
from collections.abc import Iterator
from pathlib import Path

from hwgen.toolchain.cpp import PRELUDE
from hwgen.toolchain.verilator import build_model, find_verilator, start_model

__all__ = ["simulated_board"]


@contextlib.contextmanager
def simulated_board(
    verilog: str, *, top: str, divisor: int, build_dir: Path, patience: int = 2_000_000
) -> Iterator[str]:
    """Path of a serial port that leads to module ``top`` of ``verilog``, clock ``clk``.

    Parameters
    ----------
    divisor
        Cycles of a bit of the top's UART at the ports ``rx`` and ``tx``.
    build_dir
        Where the compiled simulator is kept.
    patience
        Cycles without a byte after which time stands still until the host sends one.

    Raises
    ------
    ToolError
        If the simulator cannot be built.
    """
    program = build_model(
        find_verilator(), verilog, top=top, main=_MAIN, build_dir=build_dir, trace=False
    )
    board, host = os.openpty()
    try:
        tty.setraw(host)
        arguments = {"fd": board, "divisor": divisor, "patience": patience}
        with start_model(program, arguments, cwd=build_dir, pass_fds=(board,)):
            yield os.ttyname(host)
    finally:
        os.close(host)
        os.close(board)


_MAIN = (
    PRELUDE
    + r"""#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

constexpr unsigned long long SILENT = 1024;  // cycles

int main(int argc, char** argv) {
  const int fd = static_cast<int>(number(argc, argv, "fd"));
  const int divisor = static_cast<int>(number(argc, argv, "divisor"));
  const long long patience = number(argc, argv, "patience");
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);

  VerilatedContext context;
  context.randReset(0);  // as an FPGA is when it has been configured
  const char* name[] = {"board"};
  context.commandArgs(1, name);
  Vtop top(&context, "top");

  unsigned char buffer[4096];
  long have = 0, next = 0, quiet = 0;
  unsigned sending = 0, sent_bits = 0, send_timer = 0;     // start, data, stop
  unsigned heard = 0, heard_bits = 0, hear_timer = 0;      // 0 bits: idle
  top.clk = 0;
  top.rx = 1;
  for (unsigned long long cycle = 0;; ++cycle) {
    // a board that was just configured is in reset, and hears nothing yet
    if (next == have && cycle % 64 == 0 && cycle >= SILENT) {
      if (quiet > patience) {
        pollfd wait{fd, POLLIN, 0};
        poll(&wait, 1, -1);
      }
      const long got = read(fd, buffer, sizeof buffer);
      if (got < 0 && errno != EAGAIN && errno != EINTR) return 0;  // the host is gone
      next = 0;
      have = got > 0 ? got : 0;
      if (have) quiet = 0;
    }
    ++quiet;
    if (!send_timer) {
      if (!sent_bits && next < have) {
        sending = 0x200u | static_cast<unsigned>(buffer[next++]) << 1;
        sent_bits = 10;
        quiet = 0;
      }
      if (sent_bits) {
        top.rx = sending & 1;
        sending >>= 1;
        --sent_bits;
        send_timer = divisor;
      }
    }
    if (send_timer) --send_timer;

    top.clk = 0;
    top.eval();
    if (!heard_bits) {
      if (!top.tx) {
        heard_bits = 10;
        hear_timer = divisor / 2;
      }
    } else if (!hear_timer--) {
      hear_timer = divisor - 1;
      heard = heard >> 1 | static_cast<unsigned>(top.tx) << 9;
      if (!--heard_bits) {
        if ((heard & 0x201) != 0x200) {
          std::fprintf(stderr, "a byte from the board had no start or stop bit\n");
          return 4;
        }
        const unsigned char byte = heard >> 1 & 0xff;
        while (write(fd, &byte, 1) < 0)
          if (errno != EAGAIN && errno != EINTR) return 0;
        quiet = 0;
      }
    }
    top.clk = 1;
    top.eval();
  }
}
"""
)
