// SPDX-License-Identifier: Apache-2.0
#pragma once
// The golden checkpoints of ESM-2 (tests/golden/make_esm2_checkpoints.py), copies of them with changes, and their
// import.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <list>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "lsd/core/atomic_file.h"
#include "lsd/core/error.h"
#include "lsd/io/embedding_reader.h"
#include "lsd/io/safetensors.h"
#include "lsd/tasks/dump_latents.h"
#include "lsd/tasks/import_esm2.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "tasks/training_support.h"

namespace lsd::testing {

using nlohmann::json;

inline const std::filesystem::path kEsm2Golden = std::filesystem::path(LSD_TESTS_FOLDER) / "golden/esm2_checkpoints";

inline json read_json(const std::filesystem::path& file) {
  return json::parse(read_text_file(file));
}

class Esm2ImportTest : public ::testing::Test {
 protected:
  std::filesystem::path import(const std::filesystem::path& source, const std::string& name = "out") const {
    tasks::ImportEsm2Config config;
    config.source.directory = source.string();
    config.output.directory = (folder_ / name).string();
    EXPECT_EQ(run_task(tasks::import_esm2, config), tasks::Outcome::done);
    return folder_ / name;
  }

  // Copies a golden checkpoint, to be changed.
  std::filesystem::path copy(const std::string& golden) const {
    std::filesystem::remove_all(folder_ / "copy");
    std::filesystem::copy(kEsm2Golden / golden, folder_ / "copy");
    return folder_ / "copy";
  }

  void refuse_config(const std::string& key, const json& value, std::initializer_list<std::string> words) const {
    SCOPED_TRACE(key);
    const auto source = copy("current");
    auto config = read_json(source / "config.json");
    if (value.is_discarded())
      config.erase(key);
    else
      config[key] = value;
    std::ofstream(source / "config.json") << config;
    expect_error<Error>([&] { import(source); }, words);
    EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));
  }

  // Writes current's arrays anew after `change`; their bytes live in the golden file and in storage_.
  std::filesystem::path changed(const std::function<void(std::vector<io::NamedArray>&)>& change) {
    const auto source = copy("current");
    const io::SafetensorsFile golden(kEsm2Golden / "current/model.safetensors");
    auto arrays = golden.arrays();
    change(arrays);
    io::write_safetensors(source / "model.safetensors", arrays);
    return source;
  }
  void refuse_arrays(const std::function<void(std::vector<io::NamedArray>&)>& change,
                     std::initializer_list<std::string> words) {
    const auto source = changed(change);
    expect_error<DataError>([&] { import(source); }, words);
    EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));
  }

  static io::NamedArray& array(std::vector<io::NamedArray>& arrays, const std::string& name) {
    const auto found = std::ranges::find(arrays, name, &io::NamedArray::name);
    if (found == arrays.end()) throw std::runtime_error("no array " + name);
    return *found;
  }
  io::NamedArray floats(const std::string& name, std::vector<std::int64_t> shape, std::vector<float> values) {
    storage_.push_back(std::move(values));
    return io::named_floats(name, std::move(shape), storage_.back());
  }

  // Embeddings by the program that users take, of all sequences one behind the other.
  std::vector<float> embeddings(const std::filesystem::path& checkpoint, const json& golden,
                                const std::string& backend = "cpu") const {
    std::ofstream fasta(folder_ / "in.fasta");
    for (int number = 0; const auto& sequence : golden["sequences"])
      fasta << ">p" << number++ << '\n' << sequence.get<std::string>() << '\n';
    fasta.close();
    tasks::DumpLatentsConfig config;
    config.features.autoencoder = checkpoint.string();
    config.input.fasta = (folder_ / "in.fasta").string();
    config.output.directory = (folder_ / "dump").string();
    config.output.element = "float32";
    run_task(tasks::dump_latents, config, 1, backend);
    const io::EmbeddingReader reader(folder_ / "dump");
    std::vector<float> values;
    for (std::int64_t record = 0; record < reader.size(); ++record) {
      const auto bytes = reader.rows(record, 0, reader.tokens(record));
      const auto begin = values.size();
      values.resize(begin + bytes.size() / sizeof(float));
      std::memcpy(values.data() + begin, bytes.data(), bytes.size());
    }
    std::filesystem::remove_all(folder_ / "dump");
    return values;
  }

  TemporaryFolder folder_;
  std::list<std::vector<float>> storage_;
};

}  // namespace lsd::testing
