"""The C++ program around a Verilated design: source, sink, taps and checks in one loop."""

from __future__ import annotations

from hwgen.sim.words import word_count
from hwgen.stream.design import StreamDesign
from hwgen.toolchain.cpp import PRELUDE, UNDERSCORES

__all__ = ["harness"]


def harness(design: StreamDesign, *, trace: bool) -> str:
    """C++ main program that drives the Verilated ``design``.

    It is called with ``key=value`` arguments; see :mod:`hwgen.sim.fast`, its only caller.
    """
    streams = [("o", word_count(design.output_layout))]
    streams += [(f"tap{tap.index}", word_count(tap.layout)) for tap in design.taps]
    sampling = "\n".join(
        f"      if (top.tap{tap.index}{UNDERSCORES}valid) "
        f"streams[{number}].put(top.tap{tap.index}{UNDERSCORES}payload);"
        for number, tap in enumerate(design.taps, start=1)
    )
    opening = "\n".join(
        f'  streams.emplace_back(folder + "/{name}.bin", {words});' for name, words in streams
    )
    return (
        _TEMPLATE.replace("@PRELUDE@", PRELUDE)
        .replace("@IN_WORDS@", str(word_count(design.input_layout)))
        .replace("@IN_WIDTH@", str(design.input_layout.width))
        .replace("@OUT_WORDS@", str(word_count(design.output_layout)))
        .replace("@OPEN@", opening)
        .replace("@SAMPLE@", sampling)
        .replace("@TRACE@", "1" if trace else "0")
    )


_TEMPLATE = r"""// Drives a streaming design: words in from a file, words out to files.
@PRELUDE@#if @TRACE@
#include "verilated_vcd_c.h"
#endif

namespace {

constexpr int IN_WORDS = @IN_WORDS@, IN_WIDTH = @IN_WIDTH@, OUT_WORDS = @OUT_WORDS@;
constexpr uint32_t TOP_MASK = IN_WIDTH % 32 ? (1u << (IN_WIDTH % 32)) - 1 : 0xffffffffu;
constexpr int RESET_CYCLES = 3;

struct Random {  // xorshift64*
  uint64_t state;
  explicit Random(uint64_t seed) : state(seed * 0x9e3779b97f4a7c15ull ^ 0x2545f4914f6cdd1dull) {
    if (!state) state = 1;
    for (int i = 0; i < 8; ++i) next();
  }
  uint32_t next() {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return static_cast<uint32_t>((state * 0x2545f4914f6cdd1dull) >> 32);
  }
};

struct Pause {  // one cycle, or one time in eight 2 to 32
  Random random;
  uint32_t threshold;
  int left = 0;
  Pause(uint64_t seed, uint32_t threshold_) : random(seed), threshold(threshold_) {}
  bool step() {
    if (left) return --left, true;
    if (!threshold || random.next() >= threshold) return false;
    if (random.next() % 8 == 0) left = 1 + random.next() % 31;
    return true;
  }
};

struct Stream {  // a file of words, and how many payloads passed
  std::FILE* file;
  std::vector<uint32_t> word;
  long long count = 0;
  Stream(const std::string& path, int words) : file(std::fopen(path.c_str(), "wb")), word(words) {
    if (!file) std::perror(path.c_str()), std::exit(3);
    std::setvbuf(file, nullptr, _IOFBF, 1 << 18);
  }
  template <class Port> void put(const Port& port) {
    get(port, word.data());
    write();
  }
  void write() {
    ++count;
    if (std::fwrite(word.data(), 4, word.size(), file) != word.size()) {
      std::perror("output");
      std::exit(3);
    }
  }
  void restart() {
    std::rewind(file);
    count = 0;
  }
};

}  // namespace

int main(int argc, char** argv) {
  const std::string folder = argument(argc, argv, "folder");
  const long long seed = number(argc, argv, "seed");
  const long long total_in = number(argc, argv, "total_in");
  const long long total_out = number(argc, argv, "total_out");
  const long long frame_in = number(argc, argv, "frame_in");
  const long long frame_out = number(argc, argv, "frame_out");
  const long long deadline = number(argc, argv, "deadline");
  const long long reset_after = number(argc, argv, "reset_after");  // words; negative: never
  const long long trace_from = number(argc, argv, "trace_from");
  const long long stop_stream = number(argc, argv, "stop_stream");  // negative: at the end
  const long long stop_word = number(argc, argv, "stop_word");

  std::vector<uint32_t> input(static_cast<std::size_t>(total_in) * IN_WORDS + 1);
  std::FILE* file = std::fopen((folder + "/input.bin").c_str(), "rb");
  if (!file || std::fread(input.data(), 4, input.size() - 1, file) != input.size() - 1) {
    std::perror("input");
    return 3;
  }
  std::fclose(file);

  std::vector<Stream> streams;
@OPEN@
  Stream& out = streams[0];

  VerilatedContext context;
  context.randReset(2);
  context.randSeed(static_cast<int>(seed % 2147483646 + 1));
  const char* name[] = {"bench"};
  context.commandArgs(1, name);
#if @TRACE@
  context.traceEverOn(true);
#endif
  Vtop top(&context, "top");
#if @TRACE@
  VerilatedVcdC trace;
  top.trace(&trace, 99);
  trace.open((folder + "/wave.vcd").c_str());
#endif

  Random junk(seed + 3);
  Pause source(seed + 1, static_cast<uint32_t>(number(argc, argv, "source")));
  Pause sink(seed + 2, static_cast<uint32_t>(number(argc, argv, "sink")));
  std::vector<long long> accepted, finished;
  std::vector<uint32_t> held(OUT_WORDS), idle(IN_WORDS);
  long long sent = 0, cycle = 0, first_valid = -1, progress = 0, reported = 0, drained = 0;
  long long gap = 0, passed = -1;
  uint64_t time = 0;
  int reset = RESET_CYCLES;
  bool offering = false, waiting = false, was_reset = false;
  const char* fault = "none";
  top.clk = 0;

  for (;;) {
    // drive
    if (reset) {
      offering = false;
    } else if (!offering && !source.step() && sent < total_in) {
      offering = true;
    }
    if (offering) {
      set(top.i___05Fpayload, &input[sent * IN_WORDS]);
    } else {
      for (uint32_t& w : idle) w = junk.next();
      idle[IN_WORDS - 1] &= TOP_MASK;
      set(top.i___05Fpayload, idle.data());
    }
    top.i___05Fvalid = offering;
    top.o___05Fready = drained ? 1 : !sink.step();
    top.rst = reset > 0;
    top.eval();
#if @TRACE@
    if (cycle >= trace_from) trace.dump(time);
#endif
    // sample what the coming edge will take
    if (!reset) {
      if (waiting && !top.o___05Fvalid) {
        fault = "retracted";
        break;
      }
      if (top.o___05Fvalid) {
        get(top.o___05Fpayload, out.word.data());
        if (waiting && out.word != held) {
          fault = "changed";
          break;
        }
        held = out.word;
        if (first_valid < 0) first_valid = cycle;
        if (out.count == total_out) {
          fault = "extra";
          break;
        }
      }
      waiting = top.o___05Fvalid && !top.o___05Fready;
@SAMPLE@
      if (top.o___05Fvalid && top.o___05Fready) {
        out.write();
        if (out.count % frame_out == 0) finished.push_back(cycle);
        gap = std::max(gap, cycle - progress);
        progress = cycle;
      }
      if (offering && top.i___05Fready) {
        if (sent % frame_in == 0) accepted.push_back(cycle);
        ++sent;
        offering = false;
        gap = std::max(gap, cycle - progress);
        progress = cycle;
      }
      if (passed < 0 && stop_stream >= 0 && streams[stop_stream].count > stop_word)
        passed = cycle;
      if (passed >= 0 && cycle == passed + 16) break;
      if (sent == total_in && out.count == total_out) {
        // nothing may follow, for as long as the design was ever silent before
        if (drained++ > 256 + gap) break;
      } else if (cycle - progress > deadline) {
        fault = "deadline";
        break;
      }
      if (finished.size() && (cycle & 0xffff) == 0 && out.count != reported) {
        reported = out.count;
        std::printf("progress %lld\n", reported);
        std::fflush(stdout);
      }
      ++cycle;
      if (!was_reset && sent == reset_after) {
        was_reset = true;
        reset = RESET_CYCLES + 1;
        for (Stream& stream : streams) stream.restart();
        accepted.clear();
        finished.clear();
        sent = progress = gap = 0;
        first_valid = -1;
        waiting = offering = false;
      }
    }
    if (reset && --reset == 0) cycle = 0;
    top.clk = 1;
    top.eval();
#if @TRACE@
    if (cycle >= trace_from) trace.dump(time + 5);
#endif
    top.clk = 0;
    time += 10;
  }
  top.final();
#if @TRACE@
  trace.close();
#endif
  std::printf("fault %s\nsent %lld\ncycle %lld\nfirst_valid %lld\npassed %lld\n", fault, sent,
              cycle, first_valid, passed);
  std::printf("counts");
  for (Stream& stream : streams) {
    std::printf(" %lld", stream.count);
    std::fclose(stream.file);
  }
  std::printf("\n");
  file = std::fopen((folder + "/cycles.bin").c_str(), "wb");
  const long long sizes[] = {static_cast<long long>(accepted.size()),
                             static_cast<long long>(finished.size())};
  std::fwrite(sizes, sizeof(long long), 2, file);
  std::fwrite(accepted.data(), sizeof(long long), accepted.size(), file);
  std::fwrite(finished.data(), sizeof(long long), finished.size(), file);
  std::fclose(file);
  return 0;
}
"""
