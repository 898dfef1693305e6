// SPDX-License-Identifier: Apache-2.0
// A FASTA file of random proteins with UniRef-like headers and lengths, for benchmarks and for trials at scale. Equal
// options give equal bytes. Residues are drawn independently with Swiss-Prot's frequencies, so nothing can be learnt
// from them.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <string_view>

#include "lsd/apps/run_app.h"
#include "lsd/core/error.h"
#include "lsd/core/philox.h"

namespace {

using namespace lsd;

struct SyntheticConfig {
  std::string output = "-";
  double megabytes = 100;
  std::int64_t seed = 1;
  std::int64_t line = 60;
  static void visit(auto& self, auto&& field) {
    field("output", self.output, {.help = "file to write; '-' is standard output"});
    field("megabytes", self.megabytes,
          {.help = "size of the text, reached with the last record", .unit = "10^6 bytes", .min = 0});
    field("seed", self.seed, {.help = "of all draws", .min = 0, .max = 4294967295.0});
    field("line", self.line, {.help = "residues in a line", .min = 1, .max = 1000000});
  }
};

// Share of every residue in Swiss-Prot, per thousand, most frequent first.
constexpr std::string_view kLetters = "LAGVESIKRDTPNQFYMHCW";
constexpr int kPerMille[] = {97, 83, 71, 69, 67, 66, 59, 58, 55, 55, 54, 47, 41, 39, 39, 29, 24, 23, 14, 10};

std::string make_letter_table() {
  std::string table;
  for (std::size_t i = 0; i < kLetters.size(); ++i) table.append(static_cast<std::size_t>(kPerMille[i]), kLetters[i]);
  return table;
}

// Log-normal with a median of 230 residues, as UniRef50's.
std::uint32_t length_of(RandomKey key, std::uint64_t record) {
  const auto words = random_words(key, 0, record, 1);
  const double normal = std::sqrt(-2.0 * std::log(uniform_from_word(words.word[0]))) *
                        std::cos(6.283185307179586 * uniform_from_word(words.word[1]));
  return static_cast<std::uint32_t>(std::clamp(230.0 * std::exp(0.65 * normal), 20.0, 35000.0));
}

void append_record(std::string& text, std::uint64_t record, const SyntheticConfig& config, const std::string& table) {
  const auto key = random_key(static_cast<std::uint32_t>(config.seed), RandomStream::sample);
  text += fmt::format(
      ">UniRef50_S{:09} Uncharacterized protein n={} Tax=Synthetica artificialis TaxID={} RepID=S{:09}_9SYNT\n", record,
      1 + random_word(key, 0, record, 2) % 40, 100000 + random_word(key, 1, record, 2) % 900000, record);
  const auto length = length_of(key, record);
  PhiloxWords words{};
  for (std::uint32_t at = 0; at < length; ++at) {
    if (at % 4 == 0) words = random_words(key, at / 4, record);
    text += table[bounded_from_word(words.word[at % 4], static_cast<std::uint32_t>(table.size()))];
    if ((at + 1) % config.line == 0) text += '\n';
  }
  if (text.back() != '\n') text += '\n';
}

void write_all(std::FILE* file, const std::string& text, const std::string& name) {
  if (std::fwrite(text.data(), 1, text.size(), file) != text.size())
    throw SystemError(fmt::format("cannot write {}: is the disk full?", name));
}

tasks::Outcome make_synthetic_fasta(const SyntheticConfig& config, tasks::Runtime& runtime) {
  if (!runtime.ranks.is_root()) return tasks::Outcome::done;
  const auto table = make_letter_table();
  std::FILE* file = config.output == "-" ? stdout : std::fopen(config.output.c_str(), "wb");
  if (file == nullptr) throw SystemError(fmt::format("cannot create {}", config.output));
  std::uint64_t written = 0;
  std::string text;
  for (std::uint64_t record = 0; static_cast<double>(written + text.size()) < config.megabytes * 1e6; ++record) {
    append_record(text, record, config, table);
    if (text.size() < 1 << 20) continue;
    write_all(file, text, config.output);
    written += text.size();
    text.clear();
  }
  write_all(file, text, config.output);
  if (file != stdout && std::fclose(file) != 0)
    throw SystemError(fmt::format("cannot finish {}: is the disk full?", config.output));
  return tasks::Outcome::done;
}

}  // namespace

int main(int argc, char** argv) {
  return lsd::apps::run_app<SyntheticConfig>(
      {.name = "lsd_make_synthetic_fasta",
       .summary = "write random proteins with UniRef-like headers and lengths, for benchmarks",
       .example = "lsd_make_synthetic_fasta --output=synthetic.fasta --megabytes=1000",
       .needs_backend = false},
      argc, argv, make_synthetic_fasta);
}
