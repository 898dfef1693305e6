// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <system_error>

#include "checkpoint_layout_internal.h"
#include "lsd/core/atomic_file.h"
#include "lsd/core/checksum.h"
#include "lsd/core/error.h"

namespace fs = std::filesystem;

namespace lsd::io {
namespace {

// Puts `partial` in the place of the folder `path`, which may exist: exchanged in one call where the file system can,
// so that a good checkpoint of the same step is never missing.
void commit_over(const fs::path& partial, const fs::path& path) {
  if (!fs::exists(path)) return commit_folder(partial, path);
  if (::renameat2(AT_FDCWD, partial.c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE) == 0) {
    fs::remove_all(partial);
    return;
  }
  const auto aside = partial_path(path);
  fs::rename(path, aside);
  commit_folder(partial, path);
  fs::remove_all(aside);
}

}  // namespace

CheckpointWriter::CheckpointWriter(fs::path folder, int keep_last) : folder_(std::move(folder)), keep_last_(keep_last) {
  if (keep_last < 1) throw UserError("at least one checkpoint is kept");
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) throw SystemError(fmt::format("cannot make the folder {}: {}", folder_.string(), error.message()));
  remove_partials(folder_);
}

const fs::path& CheckpointWriter::begin(std::int64_t step) {
  check(step >= 0, "steps count from 0");
  if (!partial_.empty()) fs::remove_all(partial_);  // an attempt that failed with an exception
  step_ = step;
  files_.clear();
  partial_ = partial_path(folder_ / checkpoint_name(step));
  std::error_code error;
  fs::create_directory(partial_, error);
  if (error) throw SystemError(fmt::format("cannot make the folder {}: {}", partial_.string(), error.message()));
  return partial_;
}

void CheckpointWriter::write(const std::string& name, const std::vector<NamedArray>& arrays) {
  check(step_ >= 0, "a checkpoint is begun before files are written");
  std::uint64_t bytes = 0;
  for (const auto& array : arrays) bytes += array.bytes.size();
  require_free_space(partial_, bytes, "checkpoint file " + name);
  files_.push_back(write_safetensors(partial_ / name, arrays, {{"format", "lsd"}, {"step", std::to_string(step_)}}));
}

fs::path CheckpointWriter::commit(const CheckpointState& state) {
  check(step_ >= 0 && state.step == step_, "the state committed is that of the step begun");
  for (const auto& file : files_) {
    std::error_code error;
    if (const auto bytes = fs::file_size(partial_ / file.name, error); error || bytes != file.bytes)
      throw SystemError(fmt::format("{} is not there with its {} bytes", (partial_ / file.name).string(), file.bytes));
  }
  write_file_atomically(partial_ / kStateFile, state_text(state, files_));
  const auto path = folder_ / checkpoint_name(step_);
  commit_over(partial_, path);
  write_file_atomically(folder_ / kLatestFile, path.filename().string() + "\n");
  partial_.clear();
  const auto newest = std::exchange(step_, -1);
  remove_old(newest);
  return path;
}

void CheckpointWriter::remove_old(std::int64_t newest_step) {
  auto steps = checkpoint_steps(folder_);
  // Later ones belong to a course that this run has left (it went back to an older checkpoint): not ours to count.
  steps.erase(std::upper_bound(steps.begin(), steps.end(), newest_step), steps.end());
  for (std::size_t i = 0; i + static_cast<std::size_t>(keep_last_) < steps.size(); ++i) {
    const auto path = folder_ / checkpoint_name(steps[i]);
    const auto aside = partial_path(path);
    fs::rename(path, aside);  // a half-removed folder must not look like a checkpoint
    fs::remove_all(aside);
  }
}

}  // namespace lsd::io
