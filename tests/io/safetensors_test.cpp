// SPDX-License-Identifier: Apache-2.0
#include "lsd/io/safetensors.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <numeric>

#include "lsd/core/atomic_file.h"
#include "lsd/core/checksum.h"
#include "lsd/core/error.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lsd::io {
namespace {

using lsd::testing::expect_error;
using lsd::testing::TemporaryFolder;
using ::testing::ElementsAre;

struct Content {
  std::vector<float> weight = std::vector<float>(12);
  std::vector<std::int64_t> visits{1, -2, std::int64_t{1} << 40U};
  std::vector<std::byte> bytes{std::byte{7}, std::byte{255}, std::byte{0}};
  std::vector<std::uint16_t> halves{0x3C00, 0xC000};  // 1 and -2 as float16

  Content() { std::iota(weight.begin(), weight.end(), -3.5F); }
  std::vector<NamedArray> arrays() const {
    return {{"flags", ArrayType::uint8, {3}, bytes},
            {"half", ArrayType::float16, {2, 1}, std::as_bytes(std::span(halves))},
            named_floats("encoder.block.0.attention.qkv.weight", {3, 4}, weight),
            named_floats("empty", {0, 4}, {}),
            named_floats("scalar", {}, std::span(weight).first(1)),
            named_integers("visits", {3}, visits)};
  }
};

void write_bytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

TEST(Safetensors, ReadsBackWhatItWrote) {
  const TemporaryFolder folder;
  const Content content;
  const auto written = write_safetensors(folder / "a.safetensors", content.arrays(), {{"step", "12"}});
  EXPECT_EQ(written.name, "a.safetensors");
  EXPECT_EQ(written.bytes, std::filesystem::file_size(folder / "a.safetensors"));
  EXPECT_EQ(written.checksum, checksum_of_file(folder / "a.safetensors"));

  const SafetensorsFile file(folder / "a.safetensors");
  EXPECT_EQ(file.checksum(), written.checksum);
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"step", "12"}}));
  EXPECT_EQ(file.arrays().size(), 6U);
  const auto& weight = file.require("encoder.block.0.attention.qkv.weight", ArrayType::float32, {3, 4});
  EXPECT_THAT(weight.as<float>(), ::testing::ElementsAreArray(content.weight));
  EXPECT_THAT(file.find("visits")->as<std::int64_t>(), ElementsAre(1, -2, std::int64_t{1} << 40U));
  EXPECT_EQ(file.find("scalar")->as<float>()[0], -3.5F);
  EXPECT_EQ(file.find("nothing"), nullptr);
  for (const auto& array : file.arrays())
    EXPECT_EQ(
        reinterpret_cast<std::uintptr_t>(array.bytes.data()) % static_cast<std::uintptr_t>(element_bytes(array.type)),
        0U);
}

// The format by hand: length, header padded with spaces so that data start at a multiple of 64, data.
TEST(Safetensors, HasTheFormatsBytes) {
  const TemporaryFolder folder;
  const std::vector<float> values{1.0F, 2.0F};
  write_safetensors(folder / "a", {named_floats("w", {2}, values)});
  const auto bytes = read_text_file(folder / "a");
  const std::string header = R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  ASSERT_EQ(bytes.size(), 64U + 8U);
  EXPECT_EQ(bytes.substr(0, 8), std::string("\x38\0\0\0\0\0\0\0", 8));
  EXPECT_EQ(bytes.substr(8, 56), header + std::string(56 - header.size(), ' '));
  EXPECT_EQ(bytes.substr(64), std::string("\0\0\x80\x3F\0\0\0\x40", 8));
}

TEST(Safetensors, NamesWhatBelongsToAnotherModel) {
  const TemporaryFolder folder;
  write_safetensors(folder / "a", Content().arrays());
  const SafetensorsFile file(folder / "a");
  expect_error<DataError>([&] { file.require("bias", ArrayType::float32, {1}); }, {"holds no array bias"});
  expect_error<DataError>([&] { file.require("visits", ArrayType::float32, {3}); }, {"visits as I64 [3], and F32 [3]"});
  expect_error<DataError>([&] { file.require("half", ArrayType::float16, {2, 2}); }, {"F16 [2, 1], and F16 [2, 2]"});
}

TEST(Safetensors, RefusesTruncationAtEveryByte) {
  const TemporaryFolder folder;
  write_safetensors(folder / "a", Content().arrays(), {{"k", "v"}});
  const auto whole = read_text_file(folder / "a");
  for (std::size_t size = whole.size(); size-- > 0;) {
    std::filesystem::resize_file(folder / "a", size);
    EXPECT_THROW(SafetensorsFile(folder / "a"), DataError) << size;
  }
  write_bytes(folder / "b", whole + "x");
  expect_error<DataError>([&] { SafetensorsFile(folder / "b"); }, {"truncated or was added to"});
}

TEST(Safetensors, SurvivesAnyBitFlipInTheHeader) {
  const TemporaryFolder folder;
  write_safetensors(folder / "a", Content().arrays(), {{"step", "12"}});
  const auto whole = read_text_file(folder / "a");
  std::uint64_t header = 0;
  std::memcpy(&header, whole.data(), 8);
  for (std::size_t bit = 0; bit < (8 + header) * 8; bit += 3) {
    const auto byte = static_cast<std::streamoff>(bit / 8);
    const auto put = [&](int value) {
      std::fstream file(folder / "a", std::ios::binary | std::ios::in | std::ios::out);
      file.seekp(byte);
      file.put(static_cast<char>(value));
    };
    put(whole[bit / 8] ^ (1 << (bit % 8)));
    try {
      const SafetensorsFile file(folder / "a");
      for (const auto& array : file.arrays()) (void)checksum64(array.bytes);  // every view lies within the file
    } catch (const DataError&) {
    }
    put(whole[bit / 8]);
  }
}

TEST(Safetensors, RefusesBrokenHeaders) {
  const TemporaryFolder folder;
  const auto refuse = [&](const std::string& header, const std::string& data, const char* why) {
    std::uint64_t length = header.size();
    std::string bytes(8, '\0');
    std::memcpy(bytes.data(), &length, 8);
    write_bytes(folder / "b", bytes + header + data);
    expect_error<DataError>([&] { SafetensorsFile(folder / "b"); }, {why});
  };
  refuse("[]", "", "no JSON object");
  refuse(R"({"w":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}})", "0123", "type F99");
  refuse(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", "0123", "shape and type do not give");
  refuse(R"({"w":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", "0123", "shape and type do not give");
  refuse(R"({"w":{"dtype":"F32","shape":[9223372036854775807,4],"data_offsets":[0,4]}})", "0123", "shape and type");
  refuse(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", "0123", "truncated");
  refuse(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", "01234567", "begin where");
  refuse(R"({"__metadata__":{"step":12}})", "", "metadata are not a table of texts");
  refuse(R"({"w":{"dtype":"F32","shape":[1]}})", "0123", "description of array w is broken");
}

TEST(Safetensors, RefusesArraysThatCannotBeWritten) {
  const TemporaryFolder folder;
  const std::vector<float> two(2);
  EXPECT_THROW(write_safetensors(folder / "a", {named_floats("w", {3}, two)}), InternalError);
  EXPECT_THROW(write_safetensors(folder / "a", {named_floats("w", {2}, two), named_floats("w", {2}, two)}),
               InternalError);
  EXPECT_THROW(write_safetensors(folder / "none" / "a", {}), SystemError);
}

// The real package reads our file, and we read the file that it writes.
TEST(Safetensors, AgreesWithThePythonPackage) {
  const TemporaryFolder folder;
  const Content content;
  write_safetensors(folder / "ours.safetensors", content.arrays(), {{"step", "12"}});
  const auto script = std::filesystem::path(LSD_TESTS_FOLDER) / "io" / "exchange_safetensors.py";
  const auto code =
      std::system((std::string(LSD_PYTHON) + " " + script.string() + " " + folder.path().string()).c_str());
  ASSERT_EQ(code, 0) << "the Python package safetensors is needed: ./dev test installs it";

  const SafetensorsFile theirs(folder / "theirs.safetensors");
  EXPECT_THAT(theirs.require("weight", ArrayType::float32, {2, 3}).as<float>(), ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(theirs.require("steps", ArrayType::int64, {2}).as<std::int64_t>(), ElementsAre(7, -8));
  EXPECT_EQ(theirs.metadata().at("made_by"), "python");
}

}  // namespace
}  // namespace lsd::io
