// SPDX-License-Identifier: Apache-2.0
#include "lsd/data/host_batch.h"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <numeric>

#include "lsd/core/error.h"
#include "lsd/data/alphabet.h"

namespace lsd::data {
namespace {

constexpr std::size_t kAlignment = 256;

std::shared_ptr<std::byte> allocate_plain(std::size_t bytes) {
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(kAlignment, bytes));
  if (memory == nullptr) throw std::bad_alloc();
  return {memory, [](std::byte* p) { std::free(p); }};
}

// Rows [begin, begin + sequence.rows) of the batch.
void write_tokens(const SequenceSource& source, const PlacedSequence& sequence, bool specials,
                  std::span<std::int32_t> tokens) {
  const auto residues =
      source.residues(sequence.record)
          .subspan(static_cast<std::size_t>(sequence.first_residue), static_cast<std::size_t>(sequence.residues));
  auto out = tokens.begin();
  if (specials) *out++ = kCls;
  out = std::copy(residues.begin(), residues.end(), out);
  if (specials) *out = kEos;
}

void write_groups(const HostBatch& batch, std::size_t begin, std::size_t rows) {
  for (std::size_t row = begin; row < begin + rows; ++row) {
    const auto token = batch.tokens()[row];
    const bool residue = token != kCls && token != kEos;
    batch.residue_mask()[row] = residue ? 1 : 0;
    batch.residue_group()[row] = residue ? 0 : -1;
    batch.type_group()[row] = is_standard_residue(static_cast<std::uint8_t>(token)) ? token - kFirstAminoAcid : -1;
  }
}

// Reconstruction: every residue that is known.
std::int64_t write_targets(std::span<const std::int32_t> tokens, std::span<std::int32_t> targets) {
  std::int64_t count = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const bool target = tokens[i] != kCls && tokens[i] != kEos && tokens[i] != kUnknownResidue;
    targets[i] = target ? tokens[i] : -1;
    count += target ? 1 : 0;
  }
  return count;
}

void clear_rows_from(const HostBatch& batch, std::size_t row) {
  const auto clear = [row](auto span, auto value) {
    std::fill(span.begin() + static_cast<std::ptrdiff_t>(row), span.end(), value);
  };
  clear(batch.row_sequence(), -1);
  clear(batch.row_position(), 0);
  clear(batch.tokens(), std::int32_t{kPad});
  clear(batch.targets(), -1);
  clear(batch.row_scale(), 1.0F);
  clear(batch.residue_group(), -1);
  clear(batch.type_group(), -1);
  clear(batch.residue_mask(), std::uint8_t{0});
}

void write_slots(const HostBatch& batch, std::span<const PlacedSequence> sequences) {
  const auto visits = batch.sequence_visit();
  std::fill(visits.begin(), visits.end(), 0);
  std::transform(sequences.begin(), sequences.end(), visits.begin(),
                 [](const auto& sequence) { return sequence.visit; });
  std::fill(batch.sequence_time().begin(), batch.sequence_time().end(), 0.0F);
  std::fill(batch.sequence_weight().begin(), batch.sequence_weight().end(), 1.0F);
  const auto order = batch.sequence_order();
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(sequences.size()), [&](auto a, auto b) {
    return sequences[static_cast<std::size_t>(a)].rows > sequences[static_cast<std::size_t>(b)].rows;
  });
}

}  // namespace

HostBatchLayout::HostBatchLayout(std::int64_t num_rows, std::int64_t sequences)
    : rows(num_rows), max_sequences(sequences) {
  check(num_rows > 0 && sequences > 0, "a micro-batch holds at least one row and one sequence");
  const auto place = [this](std::int64_t elements, std::size_t element_bytes) {
    const auto offset_bytes = total_bytes;
    const auto bytes = static_cast<std::size_t>(elements) * element_bytes;
    total_bytes += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    return offset_bytes;
  };
  offsets = place(sequences + 1, 4);
  row_sequence = place(rows, 4);
  row_position = place(rows, 4);
  sequence_order = place(sequences, 4);
  tokens = place(rows, 4);
  targets = place(rows, 4);
  row_scale = place(rows, 4);
  residue_group = place(rows, 4);
  type_group = place(rows, 4);
  residue_mask = place(rows, 1);
  sequence_visit = place(sequences, 8);
  sequence_time = place(sequences, 4);
  sequence_weight = place(sequences, 4);
}

HostBatch::HostBatch(std::int64_t rows, std::int64_t max_sequences, const HostAllocate& allocate)
    : layout_(rows, max_sequences),
      block_(allocate ? allocate(layout_.total_bytes) : allocate_plain(layout_.total_bytes)) {}

void fill_batch(const SequenceSource& source, const MicroBatchPlan& plan, const BatchContent& content,
                HostBatch& batch) {
  const auto& layout = batch.layout();
  check(plan.rows <= layout.rows && static_cast<std::int64_t>(plan.sequences.size()) <= layout.max_sequences,
        "a micro-batch fits into its block");
  batch.sequences = plan.sequences;
  batch.num_tokens = plan.rows;
  batch.num_residues = plan.residues;
  batch.num_targets = 0;
  std::size_t row = 0;
  std::int32_t slot = 0;
  for (const auto& sequence : plan.sequences) {
    const auto rows = static_cast<std::size_t>(sequence.rows);
    const auto part = [&](auto span) { return span.subspan(row, rows); };
    batch.offsets()[static_cast<std::size_t>(slot)] = static_cast<std::int32_t>(row);
    std::fill_n(part(batch.row_sequence()).begin(), rows, slot++);
    std::iota(part(batch.row_position()).begin(), part(batch.row_position()).end(), 0);
    write_tokens(source, sequence, content.specials, part(batch.tokens()));
    write_groups(batch, row, rows);
    batch.num_targets += content.masking ? mask_sequence(*content.masking, content.seed, sequence.visit,
                                                         part(batch.tokens()), part(batch.targets()))
                                         : write_targets(part(batch.tokens()), part(batch.targets()));
    if (content.token_dropout)
      token_dropout_scale(part(batch.tokens()), part(batch.row_scale()));
    else
      std::fill_n(part(batch.row_scale()).begin(), rows, 1.0F);
    row += rows;
  }
  std::fill(batch.offsets().begin() + slot, batch.offsets().end(), static_cast<std::int32_t>(row));
  clear_rows_from(batch, row);
  write_slots(batch, plan.sequences);
}

}  // namespace lsd::data
