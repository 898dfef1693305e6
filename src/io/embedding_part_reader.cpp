// SPDX-License-Identifier: Apache-2.0
#include "lsd/io/embedding_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>

#include "block_records_internal.h"
#include "embedding_tables_internal.h"
#include "lsd/core/checksum.h"
#include "lsd/core/error.h"
#include "lsd/io/file_trailer.h"
#include "mapped_file_internal.h"

namespace lsd::io {
namespace {

constexpr auto kAdvice = kEmbeddingAdvice;

// A mapped table and which of its blocks were found to be intact.
struct CheckedRows {
  std::string name;
  std::span<const std::byte> bytes;
  std::span<const std::uint64_t> sums;
  std::unique_ptr<std::atomic<bool>[]> intact;

  // `name_records` says which records bytes [first, last] belong to.
  template <class NameRecords>
  void verify(std::size_t begin, std::size_t end, const std::filesystem::path& file,
              const NameRecords& name_records) const {
    if (begin >= end) return;
    for (std::size_t block = begin / kEmbeddingBlockBytes; block <= (end - 1) / kEmbeddingBlockBytes; ++block) {
      if (intact[block].load(std::memory_order_relaxed)) continue;
      const std::size_t first = block * kEmbeddingBlockBytes;
      const auto size = std::min<std::size_t>(kEmbeddingBlockBytes, bytes.size() - first);
      const auto found = checksum64(bytes.subspan(first, size));
      if (found != sums[block]) {
        throw DataError(fmt::format(
            "{}: block {} of the table '{}' (its bytes {} to {}; {}) is damaged: checksum {}, stored {}; {}",
            file.string(), block, name, first, first + size - 1, name_records(first, first + size - 1),
            checksum_hex(found), checksum_hex(sums[block]), kAdvice));
      }
      intact[block].store(true, std::memory_order_relaxed);
    }
  }
};

}  // namespace

struct EmbeddingPartReader::State {
  explicit State(const std::filesystem::path& path_) : path(path_), file(path_) {}

  std::filesystem::path path;
  MappedFile file;
  std::string fingerprint, element;
  EmbeddingKind kind = EmbeddingKind::residues;
  std::int64_t width = 0;
  EmbeddingPart entry;
  EmbeddingMoments moments;
  std::span<const std::uint64_t> offsets, id_offsets, sequence_hashes;
  std::span<const std::byte> id_bytes;
  std::vector<CheckedRows> tables;  // in the order of the format's list
  std::size_t rows_table_index = 0;
  ChecksumStream all_sums;

  std::span<const std::byte> map(const TablePlace& place, const std::string& name) const {
    const auto available = file.bytes().size();
    if (place.offset_bytes > available || place.size > (available - place.offset_bytes) / place.element_bytes) {
      throw DataError(
          fmt::format("the table '{}' reaches beyond the end of the file: it was cut short; {}", name, kAdvice));
    }
    return file.bytes().subspan(place.offset_bytes, place.size * place.element_bytes);
  }

  template <class T>
  static std::span<const T> as(std::span<const std::byte> bytes, const std::string& name) {
    if (reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(T) != 0) {
      throw DataError(fmt::format("the table '{}' is not aligned, so it cannot be mapped; {}", name, kAdvice));
    }
    return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
  }

  std::span<const std::byte> open(const Hdf5Handle& checksums, const TablePlace& place, const std::string& name) {
    const auto bytes = map(place, name);
    const auto sums = as<std::uint64_t>(map(find_table(checksums, name, H5T_STD_U64LE), name), name);
    const std::size_t blocks = (bytes.size() + kEmbeddingBlockBytes - 1) / kEmbeddingBlockBytes;
    if (sums.size() != blocks)
      throw DataError(fmt::format("the checksums of '{}' do not fit its size; {}", name, kAdvice));
    all_sums.add(std::as_bytes(sums));
    tables.push_back({name, bytes, sums, std::make_unique<std::atomic<bool>[]>(blocks)});
    return bytes;
  }
  // Small tables are compared with their checksums at once.
  template <class T>
  std::span<const T> open_checked(const Hdf5Handle& root, const Hdf5Handle& checksums, const std::string& name,
                                  hid_t type) {
    const auto bytes = open(checksums, find_table(root, name, type), name);
    verify(tables.back(), 0, bytes.size());
    return as<T>(bytes, name);
  }

  void verify(const CheckedRows& table, std::size_t begin, std::size_t end) const {
    table.verify(begin, end, path, [&](std::size_t first, std::size_t last) -> std::string {
      const auto row_bytes = static_cast<std::uint64_t>(width) * (element == "float16" ? 2U : 4U);
      const auto records = static_cast<std::uint64_t>(entry.records);
      if (table.name == kLatentsTable) return name_records(offsets, first / row_bytes, last / row_bytes);
      if (table.name == kMeansTable) return name_records(records, first / row_bytes, last / row_bytes);
      if (table.name == kEmbeddingIdBytesTable) return "ids of the records";
      if (table.name == kSequenceHashesTable || table.name == kEmbeddingOffsetsTable ||
          table.name == kEmbeddingIdOffsetsTable)
        return name_records(records, first / 8, last / 8);
      return "of the whole part";
    });
  }

  void read_head(const Hdf5Handle& root) {
    const auto format = read_text_attribute(root, "format");
    if (format != kEmbeddingFormat) throw DataError(fmt::format("it is of the kind '{}', not embeddings", format));
    const auto version = read_integer_attribute(root, "version");
    if (version != kEmbeddingVersion) {
      throw DataError(
          fmt::format("it has format version {}, this program reads version {}: dump again with this program", version,
                      kEmbeddingVersion));
    }
    if (read_integer_attribute(root, "block_bytes") != kEmbeddingBlockBytes) {
      throw DataError("its checksum blocks have another size than this version writes");
    }
    fingerprint = read_text_attribute(root, "fingerprint");
    kind = embedding_kind_from_name(read_text_attribute(root, "kind"));
    element = read_text_attribute(root, "element");
    width = read_integer_attribute(root, "width");
    entry.name = path.filename().string();
    entry.first_record = read_integer_attribute(root, "first_record");
    entry.records = read_integer_attribute(root, "records");
    entry.tokens = read_integer_attribute(root, "tokens");
    entry.residues = read_integer_attribute(root, "residues");
    entry.bytes = static_cast<std::int64_t>(file.bytes().size());
    const auto end = file.bytes().last(std::min(kTrailerBytes, file.bytes().size()));
    entry.file_checksum = checksum_in_trailer({reinterpret_cast<const char*>(end.data()), end.size()});
  }

  void read_tables(const Hdf5Handle& root, const Hdf5Handle& checksums) {
    offsets = open_checked<std::uint64_t>(root, checksums, kEmbeddingOffsetsTable, H5T_STD_U64LE);
    id_bytes = open_checked<std::byte>(root, checksums, kEmbeddingIdBytesTable, H5T_STD_U8LE);
    id_offsets = open_checked<std::uint64_t>(root, checksums, kEmbeddingIdOffsetsTable, H5T_STD_U64LE);
    if (H5Lexists(root.get(), kSequenceHashesTable.c_str(), H5P_DEFAULT) > 0)
      sequence_hashes = open_checked<std::uint64_t>(root, checksums, kSequenceHashesTable, H5T_STD_U64LE);
    if (kind != EmbeddingKind::moments) {
      const auto rows = static_cast<std::uint64_t>(kind == EmbeddingKind::residues ? entry.tokens : entry.records);
      const auto name = rows_table(kind);
      rows_table_index = tables.size();
      open(checksums, find_matrix(root, name, element, rows, static_cast<std::uint64_t>(width)), name);
    }
    const auto count = open_checked<std::uint64_t>(root, checksums, kMomentCountTable, H5T_STD_U64LE);
    const auto mean = open_checked<double>(root, checksums, kMomentMeanTable, H5T_IEEE_F64LE);
    const auto squares = open_checked<double>(root, checksums, kMomentSquaresTable, H5T_IEEE_F64LE);
    const auto overflows = open_checked<std::uint64_t>(root, checksums, kOverflowsTable, H5T_STD_U64LE);
    check_sizes(count.size(), mean.size(), squares.size(), overflows.size());
    moments.count = static_cast<std::int64_t>(count[0]);
    moments.mean.assign(mean.begin(), mean.end());
    moments.squared_deviations.assign(squares.begin(), squares.end());
    entry.overflows = static_cast<std::int64_t>(overflows[0]);
    entry.checksum = all_sums.value();
  }

  void check_sizes(std::size_t counts, std::size_t means, std::size_t squares, std::size_t overflows) const {
    const auto records = static_cast<std::size_t>(entry.records);
    const bool fit =
        offsets.size() == records + 1 && id_offsets.size() == records + 1 && counts == 1 && overflows == 1 &&
        means == static_cast<std::size_t>(width) && squares == means && offsets.front() == 0 &&
        offsets.back() == static_cast<std::uint64_t>(entry.tokens) && id_offsets.back() == id_bytes.size() &&
        (sequence_hashes.empty() || sequence_hashes.size() == records) &&
        std::is_sorted(offsets.begin(), offsets.end()) && std::is_sorted(id_offsets.begin(), id_offsets.end());
    if (!fit) throw DataError(fmt::format("its tables contradict each other in size: it is damaged; {}", kAdvice));
  }
};

EmbeddingPartReader::EmbeddingPartReader(const std::filesystem::path& file) {
  with_context("while opening the embeddings " + file.string(), [&] {
    const auto lock = lock_hdf5();
    const auto root = open_hdf5_file(file);
    state_ = std::make_unique<State>(file);
    state_->read_head(root);
    const hid_t group = H5Gopen2(root.get(), kEmbeddingChecksumGroup.c_str(), H5P_DEFAULT);
    if (group < 0) throw DataError(fmt::format("the group '{}' is missing; {}", kEmbeddingChecksumGroup, kAdvice));
    const Hdf5Handle checksums(group, H5Gclose, "open a group");
    state_->read_tables(root, checksums);
  });
}

EmbeddingPartReader::~EmbeddingPartReader() = default;
EmbeddingPartReader::EmbeddingPartReader(EmbeddingPartReader&&) noexcept = default;

const EmbeddingPart& EmbeddingPartReader::entry() const {
  return state_->entry;
}
const std::string& EmbeddingPartReader::fingerprint() const {
  return state_->fingerprint;
}
const EmbeddingMoments& EmbeddingPartReader::moments() const {
  return state_->moments;
}
std::span<const std::uint64_t> EmbeddingPartReader::offsets() const {
  return state_->offsets;
}

std::span<const std::uint64_t> EmbeddingPartReader::sequence_hashes() const {
  return state_->sequence_hashes;
}

std::string_view EmbeddingPartReader::id(std::int64_t record) const {
  const auto i = static_cast<std::size_t>(record);
  check(i + 1 < state_->id_offsets.size(), "a record of this part");
  const auto begin = state_->id_offsets[i], end = state_->id_offsets[i + 1];
  return {reinterpret_cast<const char*>(state_->id_bytes.data()) + begin, end - begin};
}

std::span<const std::byte> EmbeddingPartReader::rows(std::int64_t first, std::int64_t count) const {
  check(state_->kind != EmbeddingKind::moments, "a dump of moments has no rows");
  const auto& table = state_->tables[state_->rows_table_index];
  const auto row_bytes = static_cast<std::size_t>(state_->width) * (state_->element == "float16" ? 2 : 4);
  const auto begin = static_cast<std::size_t>(first) * row_bytes, size = static_cast<std::size_t>(count) * row_bytes;
  check(first >= 0 && count >= 0 && begin + size <= table.bytes.size(), "rows of this part");
  state_->verify(table, begin, begin + size);
  return table.bytes.subspan(begin, size);
}

void EmbeddingPartReader::verify() const {
  state_->file.expect_sequential_reading();
  for (const auto& table : state_->tables) state_->verify(table, 0, table.bytes.size());
}

void EmbeddingPartReader::verify_file() const {
  const auto& entry = state_->entry;
  const auto bytes = state_->file.bytes();
  state_->file.expect_sequential_reading();
  if (entry.file_checksum && checksum64(bytes.first(bytes.size() - kTrailerBytes)) == *entry.file_checksum) return;
  verify();  // names the block
  if (!entry.file_checksum) return;
  throw DataError(fmt::format("{}: its tables are intact, but not what lies around them (head, names, checksum); {}",
                              state_->path.string(), kAdvice));
}

}  // namespace lsd::io
