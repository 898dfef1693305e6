// SPDX-License-Identifier: Apache-2.0
#include "lsd/tasks/dump_latents.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "dump/dump_parts_internal.h"
#include "dump/named_source_internal.h"
#include "lsd/core/atomic_file.h"
#include "lsd/core/error.h"
#include "lsd/io/embedding_reader.h"
#include "support/expect_error.h"
#include "support/metric_lines.h"
#include "support/temporary_folder.h"
#include "tiny_models.h"

namespace lsd::tasks {
namespace {

using lsd::testing::expect_error;
using lsd::testing::kTinyWidth;
using lsd::testing::run_on_ranks;

class DumpLatentsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::write_tiny_autoencoder(folder_ / "nm");
    testing::write_tiny_diffusion(folder_ / "diffusion", folder_ / "nm");
    testing::write_fasta(folder_ / "p.fasta", {30, 7, 55, 1, 90, 64, 12, 700, 33, 20, 41, 3});
  }

  DumpLatentsConfig config(const std::string& mode, const std::string& name) const {
    DumpLatentsConfig config;
    config.features.autoencoder = (folder_ / "nm").string();
    config.features.diffusion = (folder_ / "diffusion").string();
    config.features.capacity = 128;
    config.features.max_sequences = 4;
    config.input.fasta = (folder_ / "p.fasta").string();
    config.output.directory = (folder_ / name).string();
    config.output.mode = mode;
    config.output.element = "float32";
    config.output.tokens_per_part = 150;
    return config;
  }

  io::EmbeddingReader dump(const DumpLatentsConfig& config, int ranks = 1) const {
    EXPECT_EQ(run_on_ranks(ranks, [&](Runtime& runtime) { return dump_latents(config, runtime); }), Outcome::done);
    return io::EmbeddingReader(config.output.directory);
  }

  // Part files and manifest, not the run's own files.
  std::map<std::string, std::string> bytes_of(const std::string& name) const {
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / name)) {
      const auto file = entry.path().filename().string();
      if (file.ends_with(".h5") || file == "manifest.json") files[file] = read_text_file(entry.path());
    }
    return files;
  }

  static std::vector<float> rows(const io::EmbeddingReader& reader, std::int64_t record) {
    const bool means = reader.manifest().identity.kind == io::EmbeddingKind::means;
    const auto bytes = reader.rows(record, 0, means ? 1 : reader.tokens(record));
    std::vector<float> values(bytes.size() / sizeof(float));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }

  testing::TemporaryFolder folder_;
};

TEST_F(DumpLatentsTest, EverySequenceHasItsRowsAndItsId) {
  const auto reader = dump(config("residues", "out"));
  ASSERT_EQ(reader.size(), 12);
  EXPECT_EQ(reader.width(), kTinyWidth);
  EXPECT_EQ(reader.id(0), "p0");
  EXPECT_EQ(reader.tokens(0), 32);
  EXPECT_EQ(reader.tokens(7), 702);  // longer than a batch: whole all the same
  EXPECT_EQ(reader.manifest().residues(), 1056);
  EXPECT_EQ(reader.manifest().moments.count, 1056);
  EXPECT_GT(reader.manifest().parts.size(), 4U);
  reader.verify();
}

TEST_F(DumpLatentsTest, TheSetIsTheSameForAnyNumberOfRanks) {
  for (const auto* mode : {"residues", "means", "moments"}) {
    dump(config(mode, std::string(mode) + "1"), 1);
    const auto alone = bytes_of(std::string(mode) + "1");
    for (const int ranks : {2, 4}) {
      const auto name = mode + std::to_string(ranks);
      dump(config(mode, name), ranks);
      EXPECT_EQ(bytes_of(name), alone) << mode << ", " << ranks << " ranks";
    }
  }
}

TEST_F(DumpLatentsTest, MeansAndMomentsAreThoseOfTheResidues) {
  const auto residues = dump(config("residues", "r"));
  const auto means = dump(config("means", "m"));
  const auto moments = dump(config("moments", "o"));
  std::vector<double> sum(kTinyWidth), squares(kTinyWidth);
  double count = 0;
  for (std::int64_t record = 0; record < residues.size(); ++record) {
    const auto values = rows(residues, record);
    std::vector<double> mean(kTinyWidth);
    const auto length = residues.tokens(record) - 2;
    for (std::int64_t row = 1; row <= length; ++row) {  // without <cls> and <eos>
      for (std::int64_t c = 0; c < kTinyWidth; ++c) {
        const double x = values[static_cast<std::size_t>(row * kTinyWidth + c)];
        mean[static_cast<std::size_t>(c)] += x / static_cast<double>(length);
        sum[static_cast<std::size_t>(c)] += x;
        squares[static_cast<std::size_t>(c)] += x * x;
      }
    }
    count += static_cast<double>(length);
    const auto stored = rows(means, record);
    for (std::size_t c = 0; c < mean.size(); ++c) EXPECT_NEAR(stored[c], mean[c], 1e-5);
  }
  const auto& all = moments.manifest().moments;
  for (std::size_t c = 0; c < sum.size(); ++c) {
    EXPECT_NEAR(all.mean[c], sum[c] / count, 1e-5);
    EXPECT_NEAR(all.variance()[c], squares[c] / count - sum[c] * sum[c] / count / count, 1e-4);
    EXPECT_EQ(all.mean[c], residues.manifest().moments.mean[c]);
  }
}

TEST_F(DumpLatentsTest, ALongSequenceIsEmbeddedLikeInALargeBatch) {
  auto large = config("residues", "large");
  large.features.capacity = 1024;
  const auto split = dump(config("residues", "small")), whole = dump(large);
  const auto a = rows(split, 7), b = rows(whole, 7);
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 2e-5);
}

TEST_F(DumpLatentsTest, RepresentationsFollowTheModelAndTheTime) {
  const auto with = [&](const std::string& name, double time) {
    auto chosen = config("means", fmt::format("{}{}", name, time));
    chosen.features.representation = name;
    chosen.features.time = time;
    return rows(dump(chosen), 2);
  };
  const auto encoder = with("encoder", 0.0);
  // At t = 0: denoised = z exactly (c = 1, s = 0), mapped back to the encoder's scale.
  const auto denoised = with("denoised", 0.0);
  for (std::size_t c = 0; c < encoder.size(); ++c) EXPECT_NEAR(denoised[c], encoder[c], 1e-5);
  EXPECT_NE(with("diffusion", 0.3), with("diffusion", 0.5));
  EXPECT_NE(with("diffusion", 0.3), with("eps", 0.3));
  // At t = 0: diffusion = v = eps (c = 1, s = 0).
  EXPECT_EQ(with("diffusion", 0.0), with("eps", 0.0));
}

TEST_F(DumpLatentsTest, ASecondRunFillsOnlyTheGaps) {
  dump(config("residues", "out"), 2);
  const auto whole = bytes_of("out");
  std::filesystem::remove(folder_ / "out/manifest.json");
  std::filesystem::remove(folder_ / "out/part-00001-of-00005.h5");
  std::ofstream(folder_ / "out/part-00002-of-00005.h5") << "cut off";
  std::ofstream(folder_ / "out/part-00001-of-00005.h5.x.partial") << "died here";
  const auto untouched = folder_ / "out/part-00000-of-00005.h5";
  const auto time = std::filesystem::last_write_time(untouched);
  ASSERT_EQ(whole.size(), 6U);

  dump(config("residues", "out"), 1);
  EXPECT_EQ(bytes_of("out"), whole);
  EXPECT_EQ(std::filesystem::last_write_time(untouched), time);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out/part-00001-of-00005.h5.x.partial"));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "out/DONE"));
}

TEST_F(DumpLatentsTest, MetricsTellWhatEachStartHasMade) {
  dump(config("residues", "out"), 2);
  std::filesystem::remove(folder_ / "out/manifest.json");
  std::filesystem::remove(folder_ / "out/part-00001-of-00005.h5");
  const auto reader = dump(config("residues", "out"), 1);
  dump(config("residues", "out"), 1);  // finds it finished
  const auto lines = testing::metric_lines(folder_ / "out");
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0]["kind"], "dump");
  EXPECT_EQ(lines[0]["tokens"], 1056 + 2 * 12) << "residues and two ends each";
  EXPECT_EQ(lines[0]["ranks"], 2);
  const auto mended = lines[1]["tokens"].get<std::int64_t>();
  EXPECT_GT(mended, 0);
  EXPECT_LE(mended, 150) << "one part";
  EXPECT_EQ(lines[1]["attempt"], 2);
  for (const auto& line : lines) EXPECT_GT(line["tokens_per_second"], 0.0);
}

TEST_F(DumpLatentsTest, AStoppedRunIsResumable) {
  const auto chosen = config("residues", "out");
  const auto outcome = run_on_ranks(
      2, [&](Runtime& runtime) { return dump_latents(chosen, runtime); }, true);
  EXPECT_EQ(outcome, Outcome::stopped);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "out/STOPPED"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out/manifest.json"));
  dump(config("residues", "whole"));
  dump(chosen);
  EXPECT_EQ(bytes_of("out"), bytes_of("whole"));
}

TEST_F(DumpLatentsTest, HalvesAreRoundedAndOverflowsCounted) {
  auto half = config("residues", "half");
  half.output.element = "float16";
  const auto stored = dump(half), exact = dump(config("residues", "exact"));
  EXPECT_EQ(stored.manifest().overflows(), 0);
  const auto bytes = stored.rows(0, 0, 32);
  const auto values = rows(exact, 0);
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, bytes.data() + 2 * i, 2);
    EXPECT_EQ(bits, float16_from_float(values[i]));
  }
}

TEST_F(DumpLatentsTest, ReadsTaskTables) {
  std::ofstream(folder_ / "t.csv")
      << "id,sequence_a,sequence_b,label,split\na,MKL,AAA,1,train\nb,AAA,GG,0,valid\nc,MKL,W,0,test\n";
  auto chosen = config("means", "out");
  chosen.input.fasta.clear();
  chosen.input.task = (folder_ / "t.csv").string();
  const auto reader = dump(chosen);
  ASSERT_EQ(reader.size(), 4);  // distinct sequences
  EXPECT_EQ(reader.id(0), "a.a");
  EXPECT_EQ(reader.id(3), "c.b");
}

TEST_F(DumpLatentsTest, RefusesFastaThatIsNotOneCleanProteinPerId) {
  const auto refuse = [&](const std::string& text, std::initializer_list<std::string> words) {
    std::ofstream(folder_ / "bad.fasta") << text;
    auto chosen = config("means", "out");
    chosen.input.fasta = (folder_ / "bad.fasta").string();
    const auto run = [&] { run_on_ranks(1, [&](Runtime& runtime) { return dump_latents(chosen, runtime); }); };
    expect_error<DataError>(run, words);
  };
  refuse(">a\nMKV\n>b\nLLL\nLL1L\n",
         {"bad.fasta, record 2 ('b'), line 5: '1' in the sequence (a digit); mend the file"});
  refuse(">a\nMKV\nM-V\n", {"record 1 ('a'), line 3: '-'", "alignment", "mend the file or leave the record out"});
  refuse(">a\nM*V\n", {"line 2: '*'", "a stop inside"});
  refuse(">a\nMKV\n>b\n>c\nM\n", {"record 2 ('b'), line 3: the record has no residue; mend the file"});
  refuse(">a\nMKV\n>b\nLL\n>a\nMM\n", {"record 3 ('a'), line 5: the same id as in line 1", "mend the file"});
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));
}

TEST_F(DumpLatentsTest, TellsWhatItReadInSpiteOfItsForm) {
  std::ofstream(folder_ / "odd.fasta") << ">a\nmkvJ\n>b\nLL L*\n";
  auto chosen = config("means", "out");
  chosen.input.fasta = (folder_ / "odd.fasta").string();
  const auto source = open_source(chosen.input);
  EXPECT_EQ(source.oddities, "lower_case_residues 3, letters_turned_into_X 1, final_stops_dropped 1, blanks_dropped 1");
  EXPECT_EQ(open_source(config("means", "out").input).oddities, "");
}

TEST_F(DumpLatentsTest, RefusesWhatDoesNotFit) {
  const auto run = [&](const DumpLatentsConfig& chosen) {
    run_on_ranks(1, [&](Runtime& runtime) { return dump_latents(chosen, runtime); });
  };
  dump(config("means", "out"));
  auto other = config("means", "out");
  other.features.capacity = 256;
  expect_error<UserError>([&] { run(other); }, {(folder_ / "out").string(), "another"});
  testing::write_tiny_autoencoder(folder_ / "other", 9);
  auto mixed = config("means", "mixed");
  mixed.features.autoencoder = (folder_ / "other").string();
  mixed.features.representation = "diffusion";
  expect_error<UserError>([&] { run(mixed); }, {"latents of another autoencoder"});
  auto swapped = config("means", "swapped");
  swapped.features.autoencoder = (folder_ / "diffusion").string();
  expect_error<UserError>([&] { run(swapped); }, {"no checkpoint of an autoencoder"});
  auto score = config("means", "score");
  score.features.representation = "score";
  expect_error<UserError>([&] { run(score); }, {"score", "t > 0"});
  FeatureConfig none;
  EXPECT_THROW(none.validate(), UserError);
  DumpInputConfig both{.shards = "a", .task = "b"};
  expect_error<UserError>([&] { both.validate(); }, {"exactly one"});
}

TEST(DumpParts, AreClosedBeforeTheyGetTooLong) {
  std::vector<std::vector<std::uint8_t>> sequences;
  for (const std::size_t length : {8U, 8U, 30U, 3U, 3U}) sequences.emplace_back(length, 5);
  const auto parts = plan_parts(*data::make_memory_source(std::move(sequences)), 22);
  ASSERT_EQ(parts.size(), 3U);  // 10 + 10 | 32 | 5 + 5
  EXPECT_EQ(parts[0].end, 2);
  EXPECT_EQ(parts[1].tokens, 32);
  EXPECT_EQ(parts[2].end, 5);
}

// Tokens 32, 20, 10 over two ranks: 32 | 20 + 10.
TEST(DumpParts, LongestPartsAreHandedOutFirst) {
  const std::vector<PartRange> parts = {{.tokens = 20}, {.tokens = 32}, {.tokens = 10}, {.tokens = 99}};
  EXPECT_EQ(assign_parts(parts, {true, true, true, false}, 2), (std::vector<int>{1, 0, 1, -1}));
}

}  // namespace
}  // namespace lsd::tasks
