// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

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

std::string without_name(std::string what, const std::string& file) {
  if (what.starts_with(file + ": ")) what.erase(0, file.size() + 2);
  if (what.starts_with(file + " ")) what.replace(0, file.size(), "it");
  // Contexts of an error that problem_of has put behind it: "while reading FILE".
  for (std::size_t at = what.find(";   while "); at != std::string::npos; at = what.find(";   while ", at)) {
    const auto end = std::min(what.find(";   ", at + 1), what.size());
    if (std::string_view(what).substr(at, end - at).ends_with(" " + file)) {
      what.erase(at, end - at);
    } else {
      at = end;
    }
  }
  return what;
}

std::string counted(std::size_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
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

std::string seal_problem(const std::filesystem::path& file) {
  switch (seal_of(read_text_file(file))) {
    case Seal::intact:
      return "";
    case Seal::broken:
      return "its text does not fit the checksum at its beginning: it was edited or is damaged; restore it from a "
             "copy, "
             "or delete it and make it again";
    case Seal::absent:
      return "it does not begin with a checksum: it is damaged, or an older program wrote it, and then it cannot be "
             "verified";
  }
  return "";
}

void require_seal(Artefact& artefact, const std::filesystem::path& file) {
  const auto problem = problem_of([&] { return seal_problem(file); });
  if (!problem.empty()) artefact.add_problem(file, problem);
}

}  // namespace lsd::tasks::verifying
