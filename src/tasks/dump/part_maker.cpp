// SPDX-License-Identifier: Apache-2.0
#include "part_maker_internal.h"

#include <algorithm>
#include <type_traits>

#include "ordered_worker_internal.h"

namespace lsd::tasks {
namespace {

io::EmbeddingMoments moments_of(const EmbeddedBatch& batch) {
  io::EmbeddingMoments moments{.count = batch.plan->residues};
  moments.mean.assign(batch.moment_mean.begin(), batch.moment_mean.end());
  for (const float variance : batch.moment_variance) {
    moments.squared_deviations.push_back(static_cast<double>(variance) * static_cast<double>(moments.count));
  }
  return moments;
}

// Turns batches into the rows of a part; on the writing thread only, but for `overflows` after the last of them.
class RowWriter {
 public:
  RowWriter(io::EmbeddingWriter& writer, const io::EmbeddingIdentity& identity)
      : writer_(writer), kind_(identity.kind), half_(identity.element == "float16") {}

  void append(const EmbeddedBatch& batch) {
    if (kind_ == io::EmbeddingKind::means) writer_.append(std::as_bytes(batch.means));
    if (kind_ != io::EmbeddingKind::residues) return;
    visit_dtype(batch.rows.dtype(), [&]<class T>(TypeTag<T>) { append_rows(batch.rows.span<T>()); });
  }
  std::int64_t overflows() const { return overflows_; }  // values that do not fit the stored type

 private:
  template <class T>
  void append_rows(std::span<const T> rows) {
    if (half_) {
      halves_.resize(rows.size());
      for (std::size_t i = 0; i < rows.size(); ++i) {
        halves_[i] = float16_from_float(static_cast<float>(rows[i]));
        overflows_ += (halves_[i] & 0x7FFFU) == 0x7C00U ? 1 : 0;
      }
      writer_.append(std::as_bytes(std::span(halves_)));
    } else if constexpr (std::is_same_v<T, float>) {
      writer_.append(std::as_bytes(rows));
    } else {
      floats_.resize(rows.size());
      std::transform(rows.begin(), rows.end(), floats_.begin(), [](T x) { return static_cast<float>(x); });
      writer_.append(std::as_bytes(std::span(floats_)));
    }
  }

  io::EmbeddingWriter& writer_;
  io::EmbeddingKind kind_;
  bool half_;
  std::int64_t overflows_ = 0;
  std::vector<std::uint16_t> halves_;
  std::vector<float> floats_;
};

}  // namespace

// A batch's slot is started again three batches later: by then the worker has taken up the batch two behind it, so that
// it is done with the one three behind.
PartMaker::Result PartMaker::make(const std::filesystem::path& folder, std::size_t part, io::PartPlacement placement,
                                  const std::function<void(std::int64_t)>& on_tokens) {
  static_assert(SequenceEmbedder::kSlots == 3);
  const auto& identity = content_.identity;
  io::EmbeddingWriter writer(folder, identity, content_.part_plan(part), std::move(placement));
  const auto width = static_cast<std::size_t>(identity.width);
  io::EmbeddingMoments moments{.mean = std::vector<double>(width), .squared_deviations = std::vector<double>(width)};
  const auto plans = embedder_.plan(content_.parts[part].begin, content_.parts[part].end);
  const EmbedRequest request{.rows = identity.kind == io::EmbeddingKind::residues,
                             .means = identity.kind == io::EmbeddingKind::means};
  RowWriter rows(writer, identity);
  OrderedWorker worker;
  const auto take = [&](std::size_t index) {
    const auto batch = embedder_.finish(static_cast<int>(index % SequenceEmbedder::kSlots));
    moments.add(moments_of(batch));
    worker.give([&rows, batch] { rows.append(batch); });
    on_tokens(batch.plan->rows);
  };
  for (std::size_t index = 0; index < plans.size(); ++index) {
    if (stop_.requested()) return Result::stopped;
    embedder_.start(static_cast<int>(index % SequenceEmbedder::kSlots), plans[index], request);
    if (index > 0) take(index - 1);
  }
  if (!plans.empty()) take(plans.size() - 1);
  worker.drain();
  waits_.compute += worker.seconds_giver_waited();
  waits_.disk += worker.seconds_worker_waited();
  writer.finish(moments, rows.overflows());
  return writer.committed() ? Result::committed : Result::was_there;
}

}  // namespace lsd::tasks
