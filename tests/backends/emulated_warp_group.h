// SPDX-License-Identifier: Apache-2.0
#pragma once
// Hopper's warp-group products on the host (emulated_block.h), written from the PTX ISA alone: "Asynchronous Warpgroup
// Level Matrix Instructions" with its "Register Fragments", "Strides", "Shared Memory Matrix Layout" and "Matrix
// Descriptor Format". Stricter than a GPU where that finds mistakes:
//   - a product is done when it is waited for, not before; until then its accumulators are NaN, and it is an error if
//     they, its A registers or its operands in shared memory have changed meanwhile
//   - registers written (by what the emulation sees: packing, matrix loads, powers) and not fenced before a product,
//   and
//     copies to shared memory not fenced, are errors
//   - all threads of a group must issue the same products, and wait for every one

#include <array>
#include <deque>
#include <source_location>

#include "backends/emulated_block.h"

namespace lsd::testing {

// A matrix operand in shared memory. Element (i, k): i counts rows of A or columns of B, k is summed over.
struct EmulatedDescriptor {
  std::uint32_t start, leading, stride;  // bytes

  explicit EmulatedDescriptor(std::uint64_t bits)
      : start(static_cast<std::uint32_t>(bits & 0x3FFFU) << 4U),
        leading(static_cast<std::uint32_t>(bits >> 16U & 0x3FFFU) << 4U),
        stride(static_cast<std::uint32_t>(bits >> 32U & 0x3FFFU) << 4U) {
    check(bits >> 62U == 1U, "the descriptor asks for the 128-byte swizzle");
    check((bits & 0x3FFE'C000'C000'C000U) == 0, "a descriptor's unused bits and its base offset are zero");
    check((start >> 7U) % 8 == 0, "with base offset 0 the swizzle's pattern starts at a multiple of 1,024 bytes");
  }
  // "Canonical layouts" in bytes of bfloat16: atoms of eight rows of 128 bytes.
  std::uint32_t address(std::uint32_t i, std::uint32_t k, bool k_major) const {
    const auto linear = k_major ? start + i / 8 * stride + i % 8 * 128 + k * 2
                                : start + i / 64 * leading + i % 64 * 2 + k / 8 * stride + k % 8 * 128;
    return linear ^ (linear >> 7U & 7U) << 4U;
  }
};

// What the warp groups of a block have under way.
class EmulatedWarpGroups {
 public:
  static constexpr std::uint32_t kSharedBegin = 0x410;  // where dynamic shared memory begins: aligned to 16 bytes only

  using Values = std::vector<float>;
  struct Product {
    std::uint64_t a, b;
    bool a_in_registers, b_by_rows, add;
    int columns;
    Values a_values, b_values;                                   // [64, 16], [columns, 16] as they were at the issue
    std::array<std::array<std::uint32_t, 4>, 128> a_words = {};  // of each thread
    std::array<const std::uint32_t*, 128> a_registers = {};
    std::array<float*, 128> sums = {};  // [columns / 8][4] of each thread
    int issued = 0;                     // by this many threads
  };
  struct Member {
    std::int64_t issued = 0;          // products
    std::size_t orders = 0;           // waits and fences
    std::deque<std::int64_t> groups;  // products issued before the end of each committed group
    bool registers_written = true, copies_landed = false;
    std::vector<std::pair<float*, Values>> in_flight;  // accumulators and what they are worth so far
  };

  explicit EmulatedWarpGroups(int threads) : members_(static_cast<std::size_t>(threads)) {}

  Member& member(int index) { return members_[static_cast<std::size_t>(index)]; }

  void issue(const EmulatedThread& t, Product product, float* sums, const std::uint32_t* a_registers);
  // .aligned: all threads of a group execute the same wait, commit or fence.
  void order(const EmulatedThread& t, std::uint32_t line) {
    auto& lines = groups_[static_cast<std::size_t>(t.index() / 128)].orders;
    const auto place = member(t.index()).orders++;
    if (place == lines.size()) lines.push_back(line);
    check(lines[place] == line, "all threads of a warp group reach the same waits and fences");
  }
  // All threads of the group are here: products before number `end` are done.
  void finish(const EmulatedThread& t, std::int64_t end);
  void check_idle() const {
    for (const auto& member : members_) check(member.in_flight.empty(), "every product is waited for");
  }
  bool copies_are_fenced() const {
    return std::none_of(members_.begin(), members_.end(), [](const Member& m) { return m.copies_landed; });
  }

 private:
  struct Group {
    std::deque<Product> products;       // under way
    std::int64_t done = 0;              // products before them
    std::vector<std::uint32_t> orders;  // lines of the waits and fences so far
  };
  static constexpr std::uint32_t kTaken = 0x7FC0BEEF;  // a NaN: what accumulators hold while a product owns them

  static Values read(const EmulatedThread& t, std::uint64_t descriptor, int rows, bool k_major) {
    const EmulatedDescriptor operand(descriptor);
    Values out;
    for (int i = 0; i < rows; ++i)
      for (int k = 0; k < 16; ++k) {
        const auto at = operand.address(static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(k), k_major);
        check(at >= kSharedBegin, "an operand lies in dynamic shared memory");
        BFloat16 value;
        std::memcpy(&value, t.shared() + (at - kSharedBegin), sizeof value);
        out.push_back(static_cast<float>(value));
      }
    return out;
  }
  // NaN is not equal to itself; operands may be NaN behind the end of what is used.
  static bool same(const Values& a, const Values& b) {
    return std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
  }
  void run(const EmulatedThread& t, int first_thread, Product& product);
  static float a_element(const Product& product, int row, int k);

  std::vector<Member> members_;
  std::array<Group, 8> groups_;
};

inline void EmulatedWarpGroups::issue(const EmulatedThread& t, Product product, float* sums,
                                      const std::uint32_t* a_registers) {
  auto& self = member(t.index());
  check(!self.registers_written, "wgmma.fence stands between registers written and a product");
  check(copies_are_fenced(), "fence.proxy.async stands between copies to shared memory and a product");
  auto& group = groups_[static_cast<std::size_t>(t.index() / 128)];
  const auto place = static_cast<std::size_t>(self.issued++ - group.done);
  if (place == group.products.size()) {
    product.b_values = read(t, product.b, product.columns, !product.b_by_rows);
    if (!product.a_in_registers) product.a_values = read(t, product.a, 64, true);
    group.products.push_back(product);
  }
  auto& shared = group.products.at(place);
  check(shared.a == product.a && shared.b == product.b && shared.add == product.add &&
            shared.columns == product.columns && shared.b_by_rows == product.b_by_rows,
        "all threads of a warp group issue the same products");
  const auto lane = static_cast<std::size_t>(t.index() % 128);
  ++shared.issued;
  shared.sums[lane] = sums;
  shared.a_registers[lane] = a_registers;
  if (a_registers != nullptr) std::copy_n(a_registers, 4, shared.a_words[lane].begin());
  const auto same_registers = [&](const auto& entry) { return entry.first == sums; };
  if (std::any_of(self.in_flight.begin(), self.in_flight.end(), same_registers)) return;
  const auto count = product.columns / 2;
  self.in_flight.emplace_back(sums, Values(sums, sums + count));
  std::fill_n(sums, count, std::bit_cast<float>(kTaken));
}

// "Register Fragments": of a warp's 16 rows, words hold (g, p), (g + 8, p), (g, p + 8), (g + 8, p + 8), two along k.
inline float EmulatedWarpGroups::a_element(const Product& product, int row, int k) {
  if (!product.a_in_registers) return product.a_values[static_cast<std::size_t>(row * 16 + k)];
  const int thread = row / 16 * 32 + row % 8 * 4 + k % 8 / 2, word = row % 16 / 8 + k / 8 * 2;
  const auto bits = product.a_words[static_cast<std::size_t>(thread)][static_cast<std::size_t>(word)];
  return std::bit_cast<float>(k % 2 == 0 ? bits << 16U : bits & 0xFFFF0000U);
}

inline void EmulatedWarpGroups::run(const EmulatedThread& t, int first_thread, Product& product) {
  check(product.issued == 128, "all threads of a warp group issue a product");
  check(same(product.b_values, read(t, product.b, product.columns, !product.b_by_rows)) &&
            (product.a_in_registers || same(product.a_values, read(t, product.a, 64, true))),
        "shared memory is not overwritten while a product reads it");
  std::vector<float> results(static_cast<std::size_t>(64 * product.columns));
  for (int row = 0; row < 64; ++row) {
    float a[16];
    for (int k = 0; k < 16; ++k) a[k] = a_element(product, row, k);
    for (int column = 0; column < product.columns; ++column) {
      const float* b = product.b_values.data() + static_cast<std::ptrdiff_t>(column * 16);
      float sum = 0.0F;
      for (int k = 0; k < 16; ++k) sum += a[k] * b[k];
      results[static_cast<std::size_t>(row * product.columns + column)] = sum;
    }
  }
  for (int lane = 0; lane < 128; ++lane) {
    const auto self = static_cast<std::size_t>(lane);
    check(!product.a_in_registers ||
              std::equal(product.a_words[self].begin(), product.a_words[self].end(), product.a_registers[self]),
          "registers of A are not overwritten while a product reads them");
    for (auto& [registers, values] : member(first_thread + lane).in_flight) {
      if (registers != product.sums[self]) continue;
      for (int i = 0; i < product.columns / 2; ++i) {
        const int row = lane / 32 * 16 + lane % 32 / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + lane % 4 * 2 + i % 2;
        auto& value = values[static_cast<std::size_t>(i)];
        value = (product.add ? value : 0.0F) + results[static_cast<std::size_t>(row * product.columns + column)];
      }
    }
  }
}

inline void EmulatedWarpGroups::finish(const EmulatedThread& t, std::int64_t end) {
  auto& group = groups_[static_cast<std::size_t>(t.index() / 128)];
  const int first_thread = t.index() / 128 * 128;
  for (; group.done < end; ++group.done) {
    run(t, first_thread, group.products.front());
    group.products.pop_front();
  }
  for (int lane = 0; lane < 128; ++lane)
    std::erase_if(member(first_thread + lane).in_flight, [&](auto& entry) {
      auto& [registers, values] = entry;
      const auto owns = [&](const Product& product) {
        return product.sums[static_cast<std::size_t>(lane)] == registers;
      };
      if (std::any_of(group.products.begin(), group.products.end(), owns)) return false;
      for (std::size_t i = 0; i < values.size(); ++i) {
        check(std::bit_cast<std::uint32_t>(registers[i]) == kTaken,
              "accumulators are not written while a product owns them");
        registers[i] = values[i];
      }
      return true;
    });
}

class WarpGroupThread {
 public:
  WarpGroupThread(EmulatedThread& thread, EmulatedWarpGroups& groups) : t_(thread), groups_(groups) {}

  int index() const { return t_.index(); }
  int lane() const { return t_.lane(); }
  int warp() const { return t_.warp(); }
  int group() const { return t_.index() / 128; }
  int block() const { return t_.block(); }
  int num_blocks() const { return t_.num_blocks(); }
  unsigned char* shared() const { return t_.shared(); }
  std::uint32_t shared_address(const void* pointer) const {
    return static_cast<std::uint32_t>(static_cast<const unsigned char*>(pointer) - t_.shared()) +
           EmulatedWarpGroups::kSharedBegin;
  }

  void sync() { t_.sync(); }
  void sync_warp() { t_.sync_warp(); }
  float shuffle_xor(float value, int mask) { return t_.shuffle_xor(value, mask); }
  bool any(bool value) { return t_.any(value); }
  template <bool kTransposed>
  void load_matrices(std::uint32_t (&words)[4], const BFloat16* row) {
    self().registers_written = true;
    t_.load_matrices<kTransposed>(words, row);
  }
  void copy_chunk(BFloat16* to, const BFloat16* from, bool valid) { t_.copy_chunk(to, from, valid); }
  void copy_word(float* to, const float* from, bool valid) { t_.copy_word(to, from, valid); }
  void wait_copies() {
    t_.wait_copies();
    self().copies_landed = true;
  }
  int take_number(std::int32_t* counter) const { return t_.take_number(counter); }
  std::uint32_t pack(float low, float high) {
    self().registers_written = true;
    return t_.pack(low, high);
  }
  float exp2(float x) {
    self().registers_written = true;
    return t_.exp2(x);
  }
  float larger(float a, float b) const { return t_.larger(a, b); }
  float log2(float x) const { return t_.log2(x); }
  double nearest(double x) const { return t_.nearest(x); }
  void sine_cosine_pi(float x, float& sine, float& cosine) const { t_.sine_cosine_pi(x, sine, cosine); }

  void fence_copies() { self().copies_landed = false; }
  void fence_registers(std::source_location where = std::source_location::current()) {
    groups_.order(t_, where.line());
    self().registers_written = false;
  }
  template <bool kByRows, int kBlocks>
  void multiply_group(float (&d)[kBlocks][4], const std::uint32_t (&a)[4], std::uint64_t b, bool add) {
    groups_.issue(t_, product<kByRows, kBlocks>(0, b, true, add), &d[0][0], a);
  }
  template <bool kByRows, int kBlocks>
  void multiply_group(float (&d)[kBlocks][4], std::uint64_t a, std::uint64_t b, bool add) {
    groups_.issue(t_, product<kByRows, kBlocks>(a, b, false, add), &d[0][0], nullptr);
  }
  void commit_products(std::source_location where = std::source_location::current()) {
    groups_.order(t_, where.line());
    self().groups.push_back(self().issued);
  }
  template <int kPending>
  void wait_products(std::source_location where = std::source_location::current()) {
    groups_.order(t_, where.line());
    auto& groups = self().groups;
    std::int64_t end = 0;
    while (static_cast<int>(groups.size()) > kPending) {
      end = groups.front();
      groups.pop_front();
    }
    t_.sync_group();
    if (end > 0) groups_.finish(t_, end);
    self().registers_written = true;
  }
  template <int kBlocks>
  void hold(float (&)[kBlocks][4]) const {}

 private:
  EmulatedWarpGroups::Member& self() { return groups_.member(t_.index()); }
  template <bool kByRows, int kBlocks>
  static EmulatedWarpGroups::Product product(std::uint64_t a, std::uint64_t b, bool a_in_registers, bool add) {
    return {.a = a,
            .b = b,
            .a_in_registers = a_in_registers,
            .b_by_rows = kByRows,
            .add = add,
            .columns = 8 * kBlocks,
            .a_values = {},
            .b_values = {}};
  }

  EmulatedThread& t_;
  EmulatedWarpGroups& groups_;
};

}  // namespace lsd::testing
