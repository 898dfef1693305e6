// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <system_error>

#include "checkpoint_layout_internal.h"
#include "lsd/core/atomic_file.h"
#include "lsd/core/checksum.h"
#include "lsd/core/error.h"
#include "lsd/core/fault_point.h"
#include "lsd/core/system_problem.h"

namespace fs = std::filesystem;

namespace lsd::io {
namespace {

// Exchanges two folders in one call where the file system can, so that a good checkpoint of the same step is never
// missing; false where it cannot.
bool exchange(const fs::path& a, const fs::path& b) {
  return ::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0;
}

}  // namespace

CheckpointWriter::CheckpointWriter(fs::path folder, CheckpointPolicy policy, std::optional<Attempt> attempt)
    : folder_(std::move(folder)), policy_(policy), attempt_(std::move(attempt)) {
  if (policy.keep_last < 1) throw UserError("at least one checkpoint is kept");
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error)
    throw SystemError(fmt::format("cannot make the folder {}: {}", folder_.string(), system_problem(error.value())));
  if (attempt_)
    attempt_->remove_older_partials(folder_);
  else
    remove_partials(folder_);
}

fs::path CheckpointWriter::partial_of(const fs::path& path) const {
  return attempt_ ? attempt_->partial_path(path) : partial_path(path);
}

const fs::path& CheckpointWriter::begin(std::int64_t step, std::uint64_t expected_bytes) {
  check(step >= 0, "steps count from 0");
  abandon();  // one that failed with an exception
  step_ = step;
  files_.clear();
  require_free_space(folder_, expected_bytes, fmt::format("the checkpoint of step {}", step));
  partial_ = partial_of(folder_ / checkpoint_name(step));
  std::error_code error;
  fs::create_directory(partial_, error);
  if (error)
    throw SystemError(fmt::format("cannot make the folder {}: {}", partial_.string(), system_problem(error.value())));
  fault_point("checkpoint.begun");
  return partial_;
}

void CheckpointWriter::write(const std::string& name, const std::vector<NamedArray>& arrays) {
  check(step_ >= 0, "a checkpoint is begun before files are written");
  std::uint64_t bytes = 0;
  for (const auto& array : arrays) bytes += array.bytes.size();
  try {
    require_free_space(partial_, bytes, "checkpoint file " + name);
    files_.push_back(write_safetensors(partial_ / name, arrays, {{"format", "lsd"}, {"step", std::to_string(step_)}}));
  } catch (const SystemError&) {
    abandon();
    throw;
  }
}

fs::path CheckpointWriter::commit(const CheckpointState& state) {
  check(step_ >= 0 && state.step == step_, "the state committed is that of the step begun");
  try {
    return commit_begun(state);
  } catch (const SystemError&) {
    abandon();
    throw;
  }
}

fs::path CheckpointWriter::commit_begun(const CheckpointState& state) {
  for (const auto& file : files_) {
    std::error_code error;
    if (const auto bytes = fs::file_size(partial_ / file.name, error); error || bytes != file.bytes)
      throw SystemError(fmt::format("{} is not there with its {} bytes", (partial_ / file.name).string(), file.bytes));
  }
  fault_point("checkpoint.tensors_written");
  write_file_atomically(partial_ / kStateFile, state_text(state, files_));
  fault_point("checkpoint.state_written");
  if (attempt_) attempt_->check_current();
  const auto path = folder_ / checkpoint_name(step_);
  put_in_place(path);
  fault_point("checkpoint.committed");
  const auto latest = path.filename().string() + "\n";
  if (attempt_)
    attempt_->write_file(folder_ / kLatestFile, latest);
  else
    write_file_atomically(folder_ / kLatestFile, latest);
  fault_point("checkpoint.latest_written");
  remove_old(std::exchange(step_, -1));
  fault_point("checkpoint.old_removed");
  return path;
}

void CheckpointWriter::put_in_place(const fs::path& path) {
  if (!fs::exists(path)) {
    commit_folder(partial_, path);
    partial_.clear();
    return;
  }
  sync_tree(partial_);
  const auto replaced = std::exchange(partial_, {});
  if (exchange(replaced, path)) {
    fs::remove_all(replaced);
    return;
  }
  const auto aside = partial_of(path);
  fs::rename(path, aside);
  commit_folder(replaced, path);
  fs::remove_all(aside);
}

// Gives the space back. A newer attempt, which removes what this one had begun, is told of instead of its effects.
void CheckpointWriter::abandon() {
  step_ = -1;
  std::error_code ignored;
  if (const auto partial = std::exchange(partial_, {}); !partial.empty()) fs::remove_all(partial, ignored);
  if (attempt_) attempt_->check_current();
}

void CheckpointWriter::remove_one(std::int64_t step) {
  const auto path = folder_ / checkpoint_name(step);
  const auto aside = partial_of(path);
  fs::rename(path, aside);  // a half-removed folder must not look like a checkpoint
  fs::remove_all(aside);
}

void CheckpointWriter::remove_old(std::int64_t newest_step) {
  auto steps = checkpoint_steps(folder_);
  // Later ones belong to a course that this run has left (it went back to an older checkpoint): not ours to count.
  steps.erase(std::upper_bound(steps.begin(), steps.end(), newest_step), steps.end());
  std::int64_t wanted = -1;
  if (keep_one_before_)
    if (const auto found = std::lower_bound(steps.begin(), steps.end(), *keep_one_before_); found != steps.begin())
      wanted = *std::prev(found);
  steps.resize(steps.size() - std::min(steps.size(), static_cast<std::size_t>(policy_.keep_last)));
  for (const auto step : steps) {
    const bool milestone = policy_.milestone_steps > 0 && step % policy_.milestone_steps == 0;
    if (!milestone && step != wanted) remove_one(step);
  }
}

void CheckpointWriter::remove_after(std::int64_t step) {
  for (const auto later : checkpoint_steps(folder_))
    if (later > step) remove_one(later);
}

}  // namespace lsd::io
