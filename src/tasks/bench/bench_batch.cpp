// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <fstream>
#include <numbers>

#include "bench_work_internal.h"
#include "lsd/core/error.h"
#include "lsd/core/philox.h"
#include "lsd/data/alphabet.h"

namespace lsd::tasks {
namespace {

std::vector<std::int64_t> read_lengths(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw UserError("cannot read " + path + "; give a file with one length a line");
  std::vector<std::int64_t> lengths;
  for (std::int64_t length = 0; file >> length;) {
    if (length < 3)
      throw DataError(path + ": " + std::to_string(length) + " is no length: <cls> and <eos> alone take 2");
    lengths.push_back(length);
  }
  if (lengths.empty() || !file.eof()) throw DataError(path + ": one whole number a line is expected");
  return lengths;
}

// Log-normal with median 230 residues and at most 1,024 tokens, as UniRef50's lengths are.
std::vector<std::int64_t> draw_lengths(std::int64_t tokens) {
  std::vector<std::int64_t> lengths;
  const auto key = random_key(1, RandomStream::sample);
  for (std::uint64_t visit = 0; tokens >= 32; ++visit) {
    const double radius = std::sqrt(-2.0 * std::log(static_cast<double>(random_uniform(key, 0, visit))));
    const double normal =
        radius * std::cos(2.0 * std::numbers::pi * static_cast<double>(random_uniform(key, 1, visit)));
    const auto length = static_cast<std::int64_t>(230.0 * std::exp(0.65 * normal));
    lengths.push_back(std::min(std::clamp<std::int64_t>(length, 32, 1024), tokens));
    tokens -= lengths.back();
  }
  return lengths;
}

std::shared_ptr<const data::SequenceSource> random_source(const std::vector<std::int64_t>& lengths) {
  std::vector<std::vector<std::uint8_t>> sequences;
  const auto key = random_key(2, RandomStream::sample);
  for (std::size_t record = 0; record < lengths.size(); ++record) {
    std::vector<std::uint8_t> residues(static_cast<std::size_t>(lengths[record] - 2));
    for (std::uint32_t i = 0; i < residues.size(); ++i)
      residues[i] =
          static_cast<std::uint8_t>(data::kFirstAminoAcid + bounded_from_word(random_word(key, i, record), 20));
    sequences.push_back(std::move(residues));
  }
  return data::make_memory_source(std::move(sequences));
}

}  // namespace

std::vector<std::int64_t> bench_lengths(const StepBenchConfig& config) {
  return config.lengths.empty() ? draw_lengths(config.tokens) : read_lengths(config.lengths);
}

data::StepBatches bench_batches(const std::vector<std::int64_t>& lengths, const train::BatchShape& shape, bool masked) {
  const auto source = random_source(lengths);
  data::BatchLoaderOptions options;
  options.packing.capacity = shape.capacity;
  options.packing.max_sequences = shape.max_sequences;
  options.packing.max_length = 0;
  if (masked) options.content.masking = data::MaskingOptions{};
  data::BatchLoader loader(source, data::one_pass(*source, options, 1));
  auto step = loader.next();
  check(step.has_value(), "the source holds sequences");
  return std::move(*step);
}

}  // namespace lsd::tasks
