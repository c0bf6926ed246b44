"""The C++ program around a Verilated NFU: memory with given timing, image after image."""

from __future__ import annotations

from hwgen.nfu.config import NfuConfig
from hwgen.nfu.isa import WORD_WIDTH
from hwgen.nfu.timing import LOADS
from hwgen.toolchain.cpp import PRELUDE, UNDERSCORES

__all__ = ["harness", "word_count"]


def word_count(width: int) -> int:
    """Words of 32 bits that hold ``width`` bits."""
    return -(-width // 32)


def harness(config: NfuConfig) -> str:
    """C++ main program; see :mod:`hwgen.nfu.simulate`, its only caller."""
    loads = "\n".join(
        f"  loads.push_back({{{number}, top.{port}_request@valid, top.{port}_request@ready,\n"
        f"                   top.{port}_words@valid, top.{port}_words@ready}});"
        for number, port in enumerate(LOADS)
    )
    requests = "\n".join(
        f"      case {number}: get(top.{port}_request@payload, word); break;"
        for number, port in enumerate(LOADS)
    )
    values = {
        "PRELUDE": PRELUDE,
        "LOADS": loads,
        "REQUESTS": requests,
        "TN": config.tn,
        "TI": config.ti,
        "ACTIVATION": config.activation_width,
        "ACCUMULATOR": config.accumulator_width,
        "ADDRESS": config.address_width,
        "INSTRUCTION": word_count(WORD_WIDTH),
        "ROW": word_count(config.row_width),
        "SCALES": word_count(config.table_width),
        "INPUT": word_count(config.ti * config.activation_width),
        "STORE": word_count(config.address_width + config.tn * config.accumulator_width),
    }
    text = _TEMPLATE
    for key, value in values.items():
        text = text.replace(f"@{key}@", str(value))
    return text.replace("@", UNDERSCORES)


_TEMPLATE = r"""// Runs a program on an NFU, image after image, with memory of given timing.
@PRELUDE@
namespace {

constexpr int TN = @TN@, TI = @TI@, ACTIVATION = @ACTIVATION@, ACCUMULATOR = @ACCUMULATOR@;
constexpr int ADDRESS = @ADDRESS@, INSTRUCTION = @INSTRUCTION@, ROW = @ROW@, SCALES = @SCALES@;
constexpr int INPUT = @INPUT@, STORE = @STORE@;
constexpr int RESET_CYCLES = 3;

template <class T> std::vector<T> read(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (!file) std::perror(path.c_str()), std::exit(3);
  std::fseek(file, 0, SEEK_END);
  std::vector<T> values(std::ftell(file) / sizeof(T));
  std::rewind(file);
  if (std::fread(values.data(), sizeof(T), values.size(), file) != values.size()) std::exit(3);
  std::fclose(file);
  return values;
}
std::FILE* create(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (!file) std::perror(path.c_str()), std::exit(3);
  return file;
}
template <class T> void write(std::FILE* file, const T* values, std::size_t count) {
  if (std::fwrite(values, sizeof(T), count, file) != count) std::perror("output"), std::exit(3);
}

uint64_t bits(const uint32_t* w, int at, int width) {
  uint64_t result = 0;
  for (int done = 0; done < width;) {
    const int offset = (at + done) % 32, taken = std::min(32 - offset, width - done);
    const uint64_t mask = (uint64_t(1) << taken) - 1;
    result |= ((w[(at + done) / 32] >> offset) & mask) << done;
    done += taken;
  }
  return result;
}
int64_t signed_bits(const uint32_t* w, int at, int width) {
  const int64_t sign = int64_t(1) << (width - 1);
  return static_cast<int64_t>(bits(w, at, width) ^ sign) - sign;
}
void pack(const int64_t* values, uint32_t* w) {
  std::memset(w, 0, INPUT * sizeof(uint32_t));
  for (int i = 0; i < TI; ++i) {
    const uint64_t value = values[i] & ((1 << ACTIVATION) - 1);
    const int at = i * ACTIVATION;
    w[at / 32] |= static_cast<uint32_t>(value << at % 32);
    if (at % 32 + ACTIVATION > 32) w[at / 32 + 1] |= static_cast<uint32_t>(value >> (32 - at % 32));
  }
}

struct Load {  // a load port, and what is left of its request
  int number;
  CData &asked, &taking, &offered, &taken;
  long long address = 0, left = 0, waited = 0, size = 0;
  bool held = false;
  uint32_t request[2] = {0, 0};
};

struct Gates {  // when each port is open: patterns that repeat
  std::vector<std::vector<uint8_t>> patterns;
  bool open(int gate, long long cycle) const {
    const auto& pattern = patterns[gate];
    return pattern.size() == 1 || pattern[cycle % pattern.size()];
  }
};

[[noreturn]] void fail(const char* what, long long image, long long cycle) {
  std::printf("%s (image %lld, cycle %lld)\n", what, image, cycle);
  std::exit(4);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string folder = argument(argc, argv, "folder") + "/";
  const long long images = number(argc, argv, "images");
  const long long latency = number(argc, argv, "latency");
  const long long deadline = number(argc, argv, "deadline");
  const long long input_at = number(argc, argv, "input_at");
  const long long input_size = number(argc, argv, "input_size");
  const long long output_at = number(argc, argv, "output_at");
  const long long output_size = number(argc, argv, "output_size");

  const auto program = read<uint32_t>(folder + "program.bin");
  const auto rows = read<uint32_t>(folder + "rows.bin");
  const auto tables = read<uint32_t>(folder + "tables.bin");
  auto activations = read<int64_t>(folder + "activations.bin");
  const long long instructions = program.size() / INSTRUCTION;
  Gates gates;
  for (int k = 0; k < 8; ++k)
    gates.patterns.push_back(read<uint8_t>(folder + "gate" + std::to_string(k) + ".bin"));
  std::FILE* input = std::fopen((folder + "input.bin").c_str(), "rb");
  if (!input) std::perror("input"), std::exit(3);
  std::FILE* output = create(folder + "output.bin");
  std::FILE* cycles = create(folder + "cycles.bin");

  VerilatedContext context;
  context.randReset(2);
  context.randSeed(static_cast<int>(number(argc, argv, "seed") % 2147483646 + 1));
  const char* name[] = {"bench"};
  context.commandArgs(1, name);
  Vtop top(&context, "top");
  std::vector<Load> loads;
@LOADS@
  uint32_t word[64];
  static_assert(STORE <= 64 && INPUT <= 64 && INSTRUCTION <= 64);
  const std::vector<uint32_t> zeros(std::max({INSTRUCTION, ROW, SCALES, INPUT, STORE}));

  const auto edge = [&] {
    top.clk = 1;
    top.eval();
    top.clk = 0;
  };
  for (long long image = 0; image < images; ++image) {
    if (std::fread(&activations[input_at], sizeof(int64_t), input_size, input) !=
        static_cast<std::size_t>(input_size))
      std::perror("input"), std::exit(3);
    top.instructions@valid = top.store@ready = 0;
    for (Load& load : loads) {
      load.taking = load.offered = 0;
      load.left = 0;
      load.held = false;
    }
    top.rst = 1;
    for (int k = 0; k < RESET_CYCLES; ++k) top.eval(), edge();
    top.rst = 0;

    long long position = 0;
    bool offered = false, store_held = false;
    uint32_t held[STORE] = {};
    std::vector<long long> starts;
    for (long long cycle = 0;; ++cycle) {
      if (cycle == deadline) fail("The NFU was not done at the deadline", image, cycle);
      if (!offered && position < instructions && gates.open(0, cycle)) {
        offered = true;
        set(top.instructions@payload, &program[position * INSTRUCTION]);
      }
      top.instructions@valid = offered;
      for (Load& load : loads) {
        load.taking = !load.left && gates.open(1 + load.number, cycle);
        load.offered =
            load.left && ++load.waited >= latency && gates.open(4 + load.number, cycle);
        if (!load.offered) continue;
        const long long size = load.number == 0   ? rows.size() / ROW
                               : load.number == 1 ? activations.size() / TI
                                                  : tables.size() / SCALES;
        if (load.address >= size) fail("A load reads outside of memory", image, cycle);
        if (load.number == 0) {
          set(top.sb_words@payload, &rows[load.address * ROW]);
        } else if (load.number == 1) {
          pack(&activations[load.address * TI], word);
          set(top.nbin_words@payload, word);
        } else {
          set(top.table_words@payload, &tables[load.address * SCALES]);
        }
      }
      top.store@ready = gates.open(7, cycle);
      top.eval();

      if (top.done) {
        if (position != instructions) fail("The NFU was done before the end", image, cycle);
        starts.push_back(cycle);
        for (int k = 0; k < 4; ++k) {
          if (top.store@valid) fail("A word was stored after the end", image, cycle);
          edge();
          top.eval();
        }
        break;
      }
      if (top.begun) starts.push_back(cycle);
      for (Load& load : loads) {
        if (load.offered) {
          if (!load.taken) fail("A word that was asked for was not taken", image, cycle);
          ++load.address;
          --load.left;
        }
        if (!load.asked) {
          if (load.held) fail("A request was retracted", image, cycle);
          continue;
        }
        word[1] = 0;
        switch (load.number) {
@REQUESTS@
        }
        if (load.held && std::memcmp(load.request, word, sizeof load.request))
          fail("A request changed before it was taken", image, cycle);
        std::memcpy(load.request, word, sizeof load.request);
        load.held = !load.taking;
        if (load.taking) {
          load.address = bits(word, 0, ADDRESS);
          load.left = bits(word, ADDRESS, 13);
          load.waited = 0;
        }
      }
      if (!top.store@valid && store_held) fail("A store was retracted", image, cycle);
      if (top.store@valid) {
        get(top.store@payload, word);
        if (store_held && std::memcmp(held, word, sizeof held))
          fail("A store changed before it was taken", image, cycle);
        std::memcpy(held, word, sizeof held);
        store_held = !top.store@ready;
        if (top.store@ready) {
          const std::size_t at = bits(word, 0, ADDRESS) * TN;
          if (at >= activations.size()) fail("A store writes outside of memory", image, cycle);
          for (int n = 0; n < TN; ++n)
            activations[at + n] = signed_bits(word, ADDRESS + n * ACCUMULATOR, ACCUMULATOR);
        }
      }
      if (offered && top.instructions@ready) {
        ++position;
        offered = false;
      }
      edge();
    }
    write(output, &activations[output_at], output_size);
    const long long count = starts.size();
    write(cycles, &count, 1);
    write(cycles, starts.data(), starts.size());
    if (image % 16 == 15) {
      std::printf("progress %lld\n", image + 1);
      std::fflush(stdout);
    }
  }
  top.final();
  std::fclose(output);
  std::fclose(cycles);
  std::fclose(input);
  return 0;
}
"""
