// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "artefact_internal.h"
#include "lsd/core/atomic_file.h"
#include "lsd/core/error.h"
#include "lsd/core/sealed_text.h"

namespace lsd::tasks::verifying {

bool is_there(Artefact& artefact, const std::filesystem::path& file, std::int64_t bytes) {
  std::error_code error;
  const auto found = std::filesystem::file_size(file, error);
  if (error) {
    artefact.add_problem(file, "it is missing");
    return false;
  }
  if (found == static_cast<std::uintmax_t>(bytes)) return true;
  artefact.add_problem(file,
                       fmt::format("it has {} bytes and should have {}: it was cut short or replaced", found, bytes));
  return false;
}

std::string problem_of(const std::function<std::string()>& body) {
  std::string text;
  try {
    text = body();
  } catch (const std::exception& error) {
    text = error.what();
  }
  for (std::size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n')) text.replace(end, 1, "; ");
  return text;
}

void require_seal(Artefact& artefact, const std::filesystem::path& file) {
  const auto problem = problem_of([&]() -> std::string {
    switch (seal_of(read_text_file(file))) {
      case Seal::intact:
        return "";
      case Seal::broken:
        return "its text does not fit the checksum at its beginning: it was edited or is damaged";
      case Seal::absent:
        return "it does not begin with a checksum: it is damaged, or an older program wrote it, and then it cannot be "
               "verified";
    }
    return "";
  });
  if (!problem.empty()) artefact.add_problem(file, problem);
}

}  // namespace lsd::tasks::verifying
