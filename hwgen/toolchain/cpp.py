"""C++ that every program around a Verilated design begins with."""

from __future__ import annotations

__all__ = ["PRELUDE", "UNDERSCORES"]


UNDERSCORES = "___05F"
"""How Verilator spells the two underscores of a port's name."""

PRELUDE = r"""#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>
#include "Vtop.h"
#include "verilated.h"

namespace {

// ports as words of 32 bits
void set(CData& port, const uint32_t* w) { port = static_cast<CData>(w[0]); }
void set(SData& port, const uint32_t* w) { port = static_cast<SData>(w[0]); }
void set(IData& port, const uint32_t* w) { port = w[0]; }
void set(QData& port, const uint32_t* w) { port = w[0] | static_cast<QData>(w[1]) << 32; }
template <std::size_t N> void set(VlWide<N>& port, const uint32_t* w) {
  std::memcpy(port.m_storage, w, N * sizeof(uint32_t));
}
void get(const CData& port, uint32_t* w) { w[0] = port; }
void get(const SData& port, uint32_t* w) { w[0] = port; }
void get(const IData& port, uint32_t* w) { w[0] = port; }
void get(const QData& port, uint32_t* w) {
  w[0] = static_cast<uint32_t>(port);
  w[1] = static_cast<uint32_t>(port >> 32);
}
template <std::size_t N> void get(const VlWide<N>& port, uint32_t* w) {
  std::memcpy(w, port.m_storage, N * sizeof(uint32_t));
}

// arguments are given as key=value
std::string argument(int argc, char** argv, const char* key) {
  const std::size_t length = std::strlen(key);
  for (int i = 1; i < argc; ++i)
    if (!std::strncmp(argv[i], key, length) && argv[i][length] == '=') return argv[i] + length + 1;
  std::fprintf(stderr, "argument %s is missing\n", key);
  std::exit(3);
}
long long number(int argc, char** argv, const char* key) {
  return std::strtoll(argument(argc, argv, key).c_str(), nullptr, 10);
}

}  // namespace
"""
"""Includes, and functions that give ports and arguments."""
