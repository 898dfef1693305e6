// SPDX-License-Identifier: Apache-2.0
#include "lsd/io/safetensors.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "lsd/core/checksum.h"
#include "lsd/core/error.h"
#include "lsd/core/json_text.h"
#include "lsd/core/system_problem.h"
#include "mapped_file_internal.h"

namespace lsd::io {
namespace {

struct TypeRow {
  ArrayType type;
  std::string_view name;
  std::int64_t bytes;
};
constexpr std::array<TypeRow, 7> kTypes = {{{ArrayType::float32, "F32", 4},
                                            {ArrayType::float16, "F16", 2},
                                            {ArrayType::bfloat16, "BF16", 2},
                                            {ArrayType::float64, "F64", 8},
                                            {ArrayType::int32, "I32", 4},
                                            {ArrayType::int64, "I64", 8},
                                            {ArrayType::uint8, "U8", 1}}};
constexpr std::size_t kDataAlignment = 64;
constexpr std::uint64_t kLargestHeader = 100'000'000;  // the limit of the reference implementation
constexpr std::size_t kWritePiece = std::size_t{16} << 20U;

const TypeRow& row_of(ArrayType type) {
  return *std::find_if(kTypes.begin(), kTypes.end(), [&](const auto& row) { return row.type == type; });
}

std::int64_t elements_of(const std::vector<std::int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

// A file being written, with the checksum of what has gone into it.
class ChecksummedOutput {
 public:
  explicit ChecksummedOutput(const std::filesystem::path& path)
      : path_(path), file_(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {
    if (file_ < 0) fail("open");
  }
  ~ChecksummedOutput() {
    if (file_ >= 0) ::close(file_);
  }
  ChecksummedOutput(const ChecksummedOutput&) = delete;
  ChecksummedOutput& operator=(const ChecksummedOutput&) = delete;

  void write(std::span<const std::byte> bytes) {
    checksum_.add(bytes);
    size_ += bytes.size();
    while (!bytes.empty()) {
      const auto count = ::write(file_, bytes.data(), std::min(bytes.size(), kWritePiece));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) fail("write");
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
  }
  void close() {
    if (::close(std::exchange(file_, -1)) != 0) fail("close");
  }
  std::uint64_t checksum() const { return checksum_.value(); }
  std::uint64_t size() const { return size_; }

 private:
  [[noreturn]] void fail(const char* what) const {
    throw SystemError(fmt::format("cannot {} {}: {}", what, path_.string(), system_problem(errno)));
  }

  std::filesystem::path path_;
  int file_;
  ChecksumStream checksum_;
  std::uint64_t size_ = 0;
};

// Larger elements first, then by name: offsets stay aligned without holes, which the format forbids.
std::vector<const NamedArray*> in_file_order(const std::vector<NamedArray>& arrays) {
  std::vector<const NamedArray*> order;
  std::set<std::string_view> names;
  for (const auto& array : arrays) {
    check(!array.name.empty() && array.name != "__metadata__" && names.insert(array.name).second,
          "arrays have names of their own");
    check(static_cast<std::int64_t>(array.bytes.size()) == elements_of(array.shape) * element_bytes(array.type),
          "an array has as many bytes as its shape says");
    order.push_back(&array);
  }
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    const auto a_bytes = element_bytes(a->type), b_bytes = element_bytes(b->type);
    return a_bytes != b_bytes ? a_bytes > b_bytes : a->name < b->name;
  });
  return order;
}

std::string header_of(const std::vector<const NamedArray*>& arrays,
                      const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header;
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t offset_bytes = 0;
  for (const auto* array : arrays) {
    header[array->name] = {{"dtype", safetensors_name(array->type)},
                           {"shape", array->shape},
                           {"data_offsets", {offset_bytes, offset_bytes + array->bytes.size()}}};
    offset_bytes += array->bytes.size();
  }
  auto text = header.is_null() ? std::string("{}") : json_text(header);
  const auto end = (sizeof(std::uint64_t) + text.size() + kDataAlignment - 1) / kDataAlignment * kDataAlignment;
  text.resize(end - sizeof(std::uint64_t), ' ');
  return text;
}

// Reads the header of one file; every failure names the file.
class HeaderReader {
 public:
  HeaderReader(const std::filesystem::path& path, std::span<const std::byte> file) : path_(path), file_(file) {}

  void read(std::vector<NamedArray>& arrays, std::map<std::string, std::string>& metadata) {
    const auto header = parse();
    for (const auto& [name, value] : header.items()) {
      if (name == "__metadata__")
        metadata = read_metadata(value);
      else
        arrays.push_back(read_array(name, value));
    }
    std::sort(arrays.begin(), arrays.end(),
              [](const auto& a, const auto& b) { return a.bytes.data() < b.bytes.data(); });
    const auto* next = data_.data();
    for (const auto& array : arrays) {
      if (array.bytes.data() != next)
        fail(fmt::format("array {} does not begin where the one before it ends", array.name));
      next += array.bytes.size();
    }
    if (next != data_.data() + data_.size())
      fail(fmt::format("it holds {} bytes of data and its header describes {}: it is truncated or was added to",
                       data_.size(), next - data_.data()));
  }

 private:
  [[noreturn]] void fail(std::string_view what) const {
    throw DataError(fmt::format("{} is not a sound safetensors file: {}", path_.string(), what));
  }

  nlohmann::json parse() {
    std::uint64_t length = 0;
    if (file_.size() < sizeof(length)) fail("it is too short for a header");
    std::memcpy(&length, file_.data(), sizeof(length));
    if (length > kLargestHeader || length > file_.size() - sizeof(length))
      fail(fmt::format("its header should take {} bytes and the file has {}", length, file_.size()));
    const auto* begin = reinterpret_cast<const char*>(file_.data() + sizeof(length));
    data_ = file_.subspan(sizeof(length) + length);
    auto header = nlohmann::json::parse(begin, begin + length, nullptr, false);
    if (!header.is_object()) fail("its header is no JSON object");
    return header;
  }

  std::map<std::string, std::string> read_metadata(const nlohmann::json& value) const {
    try {
      return value.get<std::map<std::string, std::string>>();
    } catch (const nlohmann::json::exception&) {
      fail("its metadata are not a table of texts");
    }
  }

  NamedArray read_array(const std::string& name, const nlohmann::json& value) const {
    try {
      NamedArray array{.name = name, .shape = value.at("shape").get<std::vector<std::int64_t>>()};
      const auto dtype = value.at("dtype").get<std::string>();
      const auto row = std::find_if(kTypes.begin(), kTypes.end(), [&](const auto& r) { return r.name == dtype; });
      if (row == kTypes.end()) fail(fmt::format("array {} has type {}, which this program does not read", name, dtype));
      array.type = row->type;
      const auto offsets = value.at("data_offsets").get<std::array<std::uint64_t, 2>>();
      if (offsets[0] > offsets[1] || offsets[1] > data_.size())
        fail(fmt::format("array {} should end at byte {} of the data and there are {}: it is truncated", name,
                         offsets[1], data_.size()));
      array.bytes = data_.subspan(offsets[0], offsets[1] - offsets[0]);
      if (!shape_matches(array))
        fail(fmt::format("array {} has {} bytes, which its shape and type do not give", name, array.bytes.size()));
      return array;
    } catch (const nlohmann::json::exception& error) {
      fail(fmt::format("its description of array {} is broken ({})", name, error.what()));
    }
  }

  // Without overflow: dimensions are checked against the bytes as they multiply.
  static bool shape_matches(const NamedArray& array) {
    const auto bytes = static_cast<std::int64_t>(array.bytes.size());
    std::int64_t product = element_bytes(array.type);
    if (std::count(array.shape.begin(), array.shape.end(), 0) > 0) return bytes == 0;
    for (const auto dimension : array.shape) {
      if (dimension < 0 || dimension > bytes / product) return false;
      product *= dimension;
    }
    return product == bytes;
  }

  const std::filesystem::path& path_;
  std::span<const std::byte> file_, data_;
};

}  // namespace

std::string_view safetensors_name(ArrayType type) {
  return row_of(type).name;
}
std::int64_t element_bytes(ArrayType type) {
  return row_of(type).bytes;
}

WrittenFile write_safetensors(const std::filesystem::path& path, const std::vector<NamedArray>& arrays,
                              const std::map<std::string, std::string>& metadata) {
  const auto order = in_file_order(arrays);
  const auto header = header_of(order, metadata);
  ChecksummedOutput output(path);
  const std::uint64_t length = header.size();
  output.write(std::as_bytes(std::span(&length, 1)));
  output.write(std::as_bytes(std::span(header)));
  for (const auto* array : order) output.write(array->bytes);
  output.close();
  return {path.filename().string(), output.size(), output.checksum()};
}

struct SafetensorsFile::Mapping {
  explicit Mapping(const std::filesystem::path& path) : file(path) {}
  MappedFile file;
};

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : path_(path), mapping_(std::make_shared<Mapping>(path)) {
  HeaderReader(path_, mapping_->file.bytes()).read(arrays_, metadata_);
}

const NamedArray* SafetensorsFile::find(std::string_view name) const {
  const auto found =
      std::find_if(arrays_.begin(), arrays_.end(), [&](const auto& array) { return array.name == name; });
  return found == arrays_.end() ? nullptr : &*found;
}

const NamedArray& SafetensorsFile::require(std::string_view name, ArrayType type,
                                           const std::vector<std::int64_t>& shape) const {
  const auto* array = find(name);
  if (array == nullptr)
    throw DataError(fmt::format("{} holds no array {}: it belongs to another model", path_.string(), name));
  if (array->type != type || array->shape != shape)
    throw DataError(fmt::format("{} holds {} as {} [{}], and {} [{}] is needed: it belongs to another model",
                                path_.string(), name, safetensors_name(array->type), fmt::join(array->shape, ", "),
                                safetensors_name(type), fmt::join(shape, ", ")));
  return *array;
}

std::uint64_t SafetensorsFile::bytes() const {
  return mapping_->file.bytes().size();
}
std::uint64_t SafetensorsFile::checksum() const {
  return checksum64(mapping_->file.bytes());
}

}  // namespace lsd::io
