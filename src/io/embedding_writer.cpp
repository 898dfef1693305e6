// SPDX-License-Identifier: Apache-2.0
#include "lsd/io/embedding_writer.h"

#include <fmt/format.h>

#include <optional>

#include "embedding_tables_internal.h"
#include "lsd/core/atomic_file.h"
#include "lsd/core/checksum.h"
#include "lsd/core/error.h"
#include "lsd/core/fault_point.h"
#include "lsd/io/file_trailer.h"

namespace lsd::io {
namespace {

// Checksums of the blocks of a table that arrives in pieces.
class BlockChecksums {
 public:
  void add(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const auto take = std::min<std::size_t>(bytes.size(), kEmbeddingBlockBytes - in_block_);
      if (!stream_) stream_.emplace();
      stream_->add(bytes.first(take));
      in_block_ += take;
      bytes = bytes.subspan(take);
      if (in_block_ == kEmbeddingBlockBytes) close_block();
    }
  }
  const std::vector<std::uint64_t>& finish() {
    if (in_block_ > 0) close_block();
    return sums_;
  }

 private:
  void close_block() {
    sums_.push_back(stream_->value());
    stream_.reset();
    in_block_ = 0;
  }
  std::vector<std::uint64_t> sums_;
  std::optional<ChecksumStream> stream_;
  std::size_t in_block_ = 0;
};

}  // namespace

struct EmbeddingWriter::State {
  std::filesystem::path path, partial;
  EmbeddingIdentity identity;
  EmbeddingPartPlan plan;
  Hdf5Handle file, checksums, row_type, matrix;
  std::uint64_t rows = 0, rows_written = 0;
  BlockChecksums row_sums;
  ChecksumStream all_sums;
  std::function<void()> before_commit;

  // When the partial file cannot be handled: a newer attempt may have cleared it away, and that is then the reason.
  template <class Body>
  auto handle_partial(Body&& body) const {
    try {
      return body();
    } catch (const std::exception&) {
      before_commit();
      throw;
    }
  }
  bool finished = false, committed = false;

  std::uint64_t records() const { return plan.ids.size(); }
  std::uint64_t row_bytes() const {
    return static_cast<std::uint64_t>(identity.width) * static_cast<std::uint64_t>(identity.element_bytes());
  }

  void write_identity() const {
    write_attribute(file, "format", kEmbeddingFormat);
    write_attribute(file, "version", kEmbeddingVersion);
    write_attribute(file, "fingerprint", identity.fingerprint());
    write_attribute(file, "kind", name_of(identity.kind));
    write_attribute(file, "element", identity.element);
    write_attribute(file, "width", identity.width);
    write_attribute(file, "specials", std::int64_t{identity.specials});
    write_attribute(file, "representation", identity.representation);
    write_attribute(file, "time", fmt::format("{}", identity.time));
    write_attribute(file, "input", identity.input);
    write_attribute(file, "draws", identity.draws);
    write_attribute(file, "seed", identity.seed);
    write_attribute(file, "weights", identity.weights);
    write_attribute(file, "source", identity.source);
    write_attribute(file, "packing", identity.packing);
    write_attribute(file, "part_index", plan.index);
    write_attribute(file, "part_count", plan.count);
    write_attribute(file, "first_record", plan.first_record);
    write_attribute(file, "records", static_cast<std::int64_t>(records()));
    write_attribute(file, "tokens", static_cast<std::int64_t>(plan.offsets.back()));
    write_attribute(file, "residues", plan.residues);
    write_attribute(file, "block_bytes", kEmbeddingBlockBytes);
  }

  void write_sums(const std::string& name, const std::vector<std::uint64_t>& sums) {
    write_table(create_table(checksums, name, H5T_STD_U64LE, sums.size()), H5T_NATIVE_UINT64, sums.data());
    all_sums.add(std::as_bytes(std::span(sums)));
  }

  void write_checked(const std::string& name, hid_t type, hid_t memory_type, std::span<const std::byte> bytes,
                     std::size_t element_bytes) {
    write_table(create_table(file, name, type, bytes.size() / element_bytes), memory_type, bytes.data());
    BlockChecksums sums;
    sums.add(bytes);
    write_sums(name, sums.finish());
  }
  void write_integers(const std::string& name, std::span<const std::uint64_t> values) {
    write_checked(name, H5T_STD_U64LE, H5T_NATIVE_UINT64, std::as_bytes(values), 8);
  }
  void write_doubles(const std::string& name, std::span<const double> values) {
    write_checked(name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, std::as_bytes(values), 8);
  }

  void write_ids() {
    std::string bytes;
    std::vector<std::uint64_t> offsets = {0};
    for (const auto& id : plan.ids) {
      bytes += id;
      offsets.push_back(bytes.size());
    }
    write_checked(kEmbeddingIdBytesTable, H5T_STD_U8LE, H5T_NATIVE_UINT8,
                  std::as_bytes(std::span(bytes.data(), bytes.size())), 1);
    write_integers(kEmbeddingIdOffsetsTable, offsets);
  }
};

EmbeddingWriter::EmbeddingWriter(const std::filesystem::path& folder, const EmbeddingIdentity& identity,
                                 EmbeddingPartPlan plan, PartPlacement placement)
    : state_(std::make_unique<State>()) {
  check(plan.offsets.size() == plan.ids.size() + 1 && plan.offsets.front() == 0, "one offset more than records");
  check(plan.sequence_hashes.empty() || plan.sequence_hashes.size() == plan.ids.size(), "one hash for each record");
  auto& state = *state_;
  state.path = folder / embedding_part_name(plan.index, plan.count);
  state.partial = placement.partial.empty() ? partial_path(state.path) : std::move(placement.partial);
  state.before_commit = std::move(placement.before_commit);
  state.identity = identity;
  state.plan = std::move(plan);
  with_context("while writing " + state.path.string(), [&] {
    const auto lock = lock_hdf5();
    state.file = create_hdf5_file(state.partial);
    state.write_identity();
    state.checksums = create_group(state.file, kEmbeddingChecksumGroup);
    state.write_integers(kEmbeddingOffsetsTable, state.plan.offsets);
    state.write_ids();
    if (!state.plan.sequence_hashes.empty()) state.write_integers(kSequenceHashesTable, state.plan.sequence_hashes);
    fault_point("dump.part_begun");
    if (identity.kind == EmbeddingKind::moments) return;
    state.rows = identity.kind == EmbeddingKind::residues ? state.plan.offsets.back() : state.records();
    state.row_type = float_type(identity.element);
    state.matrix = create_matrix(state.file, rows_table(identity.kind), state.row_type, state.rows,
                                 static_cast<std::uint64_t>(identity.width));
  });
}

bool EmbeddingWriter::committed() const {
  return state_->committed;
}

EmbeddingWriter::~EmbeddingWriter() {
  if (state_->finished) return;
  state_->matrix = {};
  state_->checksums = {};
  state_->file = {};
  std::error_code ignored;
  std::filesystem::remove(state_->partial, ignored);
}

void EmbeddingWriter::append(std::span<const std::byte> rows) {
  auto& state = *state_;
  const std::uint64_t count = rows.size() / state.row_bytes();
  check(count * state.row_bytes() == rows.size() && state.rows_written + count <= state.rows,
        "appended rows are whole and fit the part's plan");
  with_context("while writing " + state.path.string(), [&] {
    write_matrix_rows(state.matrix, state.row_type, state.rows_written, count,
                      static_cast<std::uint64_t>(state.identity.width), rows.data());
  });
  state.row_sums.add(rows);
  state.rows_written += count;
  fault_point("dump.part_rows_written");
}

EmbeddingPart EmbeddingWriter::finish(const EmbeddingMoments& moments, std::int64_t overflows) {
  auto& state = *state_;
  check(state.rows_written == state.rows, "every row of the part was appended");
  const auto width = static_cast<std::size_t>(state.identity.width);
  check(moments.mean.size() == width && moments.squared_deviations.size() == width, "moments as wide as the latents");
  return with_context("while writing " + state.path.string(), [&] {
    const auto lock = lock_hdf5();
    if (state.identity.kind != EmbeddingKind::moments)
      state.write_sums(rows_table(state.identity.kind), state.row_sums.finish());
    const auto count = static_cast<std::uint64_t>(moments.count), lost = static_cast<std::uint64_t>(overflows);
    state.write_integers(kMomentCountTable, std::span(&count, 1));
    state.write_doubles(kMomentMeanTable, moments.mean);
    state.write_doubles(kMomentSquaresTable, moments.squared_deviations);
    state.write_integers(kOverflowsTable, std::span(&lost, 1));
    state.matrix = {};
    state.checksums.close("finish the checksums");
    state.file.close("finish writing " + state.partial.string());
    state.before_commit();
    const auto file_checksum = state.handle_partial([&] { return append_trailer(state.partial); });
    const auto bytes = state.handle_partial([&] { return std::filesystem::file_size(state.partial); });
    fault_point("dump.part_closed");
    state.before_commit();
    state.committed = state.handle_partial([&] { return commit_file_once(state.partial, state.path); });
    state.finished = true;
    fault_point("dump.part_committed");
    return EmbeddingPart{.name = state.path.filename().string(),
                         .first_record = state.plan.first_record,
                         .records = static_cast<std::int64_t>(state.records()),
                         .tokens = static_cast<std::int64_t>(state.plan.offsets.back()),
                         .residues = state.plan.residues,
                         .overflows = overflows,
                         .bytes = static_cast<std::int64_t>(bytes),
                         .checksum = state.all_sums.value(),
                         .file_checksum = file_checksum};
  });
}

}  // namespace lsd::io
