// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which start of a job a folder belongs to. A node that was cut off from the network goes on running its job beside the
// one that was requeued, and two jobs may be started on one folder: every start takes the next number, writes under
// temporary names that carry it, and asks before each commit whether it is still the newest. So only one can commit.
//
//   <directory>/attempts/0003/attempt.json   host, pid, job and time of the third start
//
// The number is taken by making a folder, which one process alone can do, also on network file systems. Between the
// question and the rename that follows it a newer attempt may begin; it then finds either state, both whole.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace lsd::io {

struct AttemptInfo {
  std::int64_t number = 0;
  std::string host = {};
  std::int64_t pid = 0;
  std::string job = {};   // of the batch system; empty outside of one
  std::string time = {};  // UTC, of its start
};

class Attempt {
 public:
  // Takes the next number. By one process of a job: the others join with the number that it tells them.
  static Attempt begin(const std::filesystem::path& directory);
  static Attempt join(std::filesystem::path directory, std::int64_t number);

  std::int64_t number() const { return number_; }
  const std::filesystem::path& directory() const { return directory_; }
  std::filesystem::path folder() const;  // attempts/0003: for what this attempt alone writes

  // True unless a newer attempt has begun. Looks past what a network file system's client remembers.
  bool is_current() const;
  // Throws SystemError naming both attempts (host, pid, job) when a newer one has begun.
  void check_current() const;

  // <path>.a0003.<process>-<call>.partial
  std::filesystem::path partial_path(const std::filesystem::path& path) const;
  // check_current(), then the file appears whole. For small files such as pointers and states.
  void write_file(const std::filesystem::path& path, std::string_view text) const;
  // Removes what older attempts left half-written in one folder: none of them can commit it any more. What a newer
  // attempt writes, and names without a number, stay.
  void remove_older_partials(const std::filesystem::path& folder) const;

 private:
  Attempt(std::filesystem::path directory, std::int64_t number) : directory_(std::move(directory)), number_(number) {}

  std::filesystem::path directory_;
  std::int64_t number_;
};

// What is known of the newest attempt; number 0 when there is none. Fields stay empty where its file cannot be read.
AttemptInfo newest_attempt(const std::filesystem::path& directory);

}  // namespace lsd::io
