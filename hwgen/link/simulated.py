"""A simulated board behind a pseudo terminal: what talks to a serial port talks to it.

The Verilog of the whole top is compiled with a program that has a UART, or an SPI controller, of
its own on the pins of the top's; every bit passes there.
"""

from __future__ import annotations

import contextlib
import os
import tty
from collections.abc import Iterator
from pathlib import Path

import serial

from hwgen.link.spi import CLOCKS
from hwgen.link.spi_port import SpiPort
from hwgen.toolchain.cpp import PRELUDE
from hwgen.toolchain.verilator import build_model, find_verilator, start_model

__all__ = ["simulated_board", "simulated_spi"]


@contextlib.contextmanager
def simulated_board(
    verilog: str, *, top: str, divisor: int | None, build_dir: Path, patience: int = 2_000_000
) -> Iterator[str]:
    """Path of a serial port that leads to module ``top`` of ``verilog``, clock ``clk``.

    Parameters
    ----------
    divisor
        Cycles of a bit of the top's UART at the ports ``rx`` and ``tx``; None if it has SPI, at the
        ports ``cs``, ``sck``, ``copi`` and ``cipo``. Then each byte that is written to the port is
        exchanged for one that can be read (:func:`simulated_spi`).
    build_dir
        Where the compiled simulator is kept.
    patience
        Cycles without a byte after which time stands still until the host sends one.

    Raises
    ------
    ToolError
        If the simulator cannot be built.
    """
    main = _COMMON + (_SPI if divisor is None else _UART)
    program = build_model(
        find_verilator(), verilog, top=top, main=main, build_dir=build_dir, trace=False
    )
    board, host = os.openpty()
    try:
        tty.setraw(host)
        arguments = {"fd": board, "divisor": divisor or CLOCKS, "patience": patience}
        with start_model(program, arguments, cwd=build_dir, pass_fds=(board,)):
            yield os.ttyname(host)
    finally:
        os.close(host)
        os.close(board)


def simulated_spi(path: str) -> SpiPort:
    """The controller of a simulated board with SPI at ``path``."""
    line = serial.Serial(path, timeout=60)

    def exchange(data: bytes) -> bytes:
        line.write(data)
        return bytes(line.read(len(data)))

    # as much as a pseudo terminal holds
    return SpiPort(exchange, line.close, chunk=1024)


_COMMON = (
    PRELUDE
    + r"""#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

constexpr unsigned long long SILENT = 1024;  // cycles: a board that was just configured is in reset

// bytes of the host
struct Line {
  int fd;
  long long patience;
  long have = 0, next = 0;
  long long quiet = 0;  // looks without a byte
  unsigned char buffer[4096];

  // looks for more now and then; false if the host is gone
  bool look(unsigned long long cycle) {
    ++quiet;
    if (next != have || cycle % 64 || cycle < SILENT) return true;
    if (quiet > patience) {
      pollfd wait{fd, POLLIN, 0};
      poll(&wait, 1, -1);
    }
    const long got = read(fd, buffer, sizeof buffer);
    if (got < 0 && errno != EAGAIN && errno != EINTR) return false;
    next = 0;
    have = got > 0 ? got : 0;
    if (have) quiet = 0;
    return true;
  }
  bool any() const { return next < have; }
  unsigned char take() {
    quiet = 0;
    return buffer[next++];
  }
  bool give(unsigned char byte) {
    quiet = 0;
    while (write(fd, &byte, 1) < 0)
      if (errno != EAGAIN && errno != EINTR) return false;
    return true;
  }
};

Line host_line(int argc, char** argv) {
  const int fd = static_cast<int>(number(argc, argv, "fd"));
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  return Line{fd, number(argc, argv, "patience")};
}

"""
)

_UART = r"""int main(int argc, char** argv) {
  Line line = host_line(argc, argv);
  const int divisor = static_cast<int>(number(argc, argv, "divisor"));
  VerilatedContext context;
  context.randReset(0);  // as an FPGA is when it has been configured
  const char* name[] = {"board"};
  context.commandArgs(1, name);
  Vtop top(&context, "top");

  unsigned sending = 0, sent_bits = 0, send_timer = 0;     // start, data, stop
  unsigned heard = 0, heard_bits = 0, hear_timer = 0;      // 0 bits: idle
  top.clk = 0;
  top.rx = 1;
  for (unsigned long long cycle = 0;; ++cycle) {
    if (!line.look(cycle)) return 0;
    if (!send_timer) {
      if (!sent_bits && line.any()) {
        sending = 0x200u | static_cast<unsigned>(line.take()) << 1;
        sent_bits = 10;
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
        if (!line.give(heard >> 1 & 0xff)) return 0;
      }
    }
    top.clk = 1;
    top.eval();
  }
}
"""

_SPI = r"""int main(int argc, char** argv) {
  Line line = host_line(argc, argv);
  const int half = static_cast<int>(number(argc, argv, "divisor")) / 2;
  VerilatedContext context;
  context.randReset(0);  // as an FPGA is when it has been configured
  const char* name[] = {"board"};
  context.commandArgs(1, name);
  Vtop top(&context, "top");
  unsigned long long cycle = 0;
  const auto run = [&](int cycles) {
    for (int k = 0; k < cycles; ++k, ++cycle) {
      top.clk = 0;
      top.eval();
      top.clk = 1;
      top.eval();
    }
  };
  top.cs = 1;
  top.sck = 0;
  top.copi = 0;
  for (;;) {
    if (!line.any()) {
      top.cs = 1;
      run(64 - cycle % 64);
      if (!line.look(cycle)) return 0;
      continue;
    }
    if (top.cs) {
      top.cs = 0;
      run(2 * half);
    }
    const unsigned said = line.take();
    unsigned heard = 0;
    for (int bit = 7; bit >= 0; --bit) {
      top.copi = said >> bit & 1;
      run(half);
      heard = heard << 1 | top.cipo;
      top.sck = 1;
      run(half);
      top.sck = 0;
    }
    if (!line.any()) run(half);
    if (!line.give(static_cast<unsigned char>(heard))) return 0;
  }
}
"""
