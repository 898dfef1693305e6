// SPDX-License-Identifier: Apache-2.0
// A FASTA file of random proteins with UniRef-like headers and lengths, for benchmarks and for trials at scale. Equal
// options give equal bytes. Residues are drawn independently with Swiss-Prot's frequencies, so nothing can be learnt
// from them.
#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <string>
#include <string_view>

#include "lsd/apps/run_app.h"
#include "lsd/core/error.h"
#include "lsd/core/system_problem.h"
#include "lsd/data/synthetic_fasta.h"

namespace {

using namespace lsd;

struct SyntheticConfig {
  std::string output = "-";
  double megabytes = 100;
  std::int64_t seed = 1;
  std::int64_t line = 60;
  double median = 230;
  static void visit(auto& self, auto&& field) {
    field("output", self.output, {.help = "file to write; '-' is standard output"});
    field("megabytes", self.megabytes,
          {.help = "size of the text, reached with the last record", .unit = "10^6 bytes", .min = 0});
    field("seed", self.seed, {.help = "of all draws", .min = 0, .max = 4294967295.0});
    field("median", self.median,
          {.help = "median length; lengths are log-normal, from 20 on", .unit = "residues", .min = 20, .max = 35000});
    field("line", self.line, {.help = "residues in a line", .min = 1, .max = 1000000});
  }
};

void write_all(std::FILE* file, const std::string& text, const std::string& name) {
  if (std::fwrite(text.data(), 1, text.size(), file) != text.size())
    throw SystemError(fmt::format("cannot write {}: is the disk full?", name));
}

tasks::Outcome make_synthetic_fasta(const SyntheticConfig& config, tasks::Runtime& runtime) {
  if (!runtime.ranks.is_root()) return tasks::Outcome::done;
  const data::SyntheticFasta proteins(static_cast<std::uint32_t>(config.seed), config.line, config.median);
  std::FILE* file = config.output == "-" ? stdout : std::fopen(config.output.c_str(), "wb");
  if (file == nullptr) throw SystemError(fmt::format("cannot create {}: {}", config.output, system_problem(errno)));
  std::uint64_t written = 0;
  std::string text;
  for (std::uint64_t record = 0; static_cast<double>(written + text.size()) < config.megabytes * 1e6; ++record) {
    proteins.append_record(record, text);
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
       .needs_backend = false,
       .uses_ranks = false},
      argc, argv, make_synthetic_fasta);
}
