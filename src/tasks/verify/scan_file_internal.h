// SPDX-License-Identifier: Apache-2.0
#pragma once
// Reads a file once, front to back, with its checksum: what verifying spends its time with.

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lsd/core/stop_signal.h"

namespace lsd::tasks::verifying {

// One per thread: a buffer, and what all threads share.
class Reading {
 public:
  Reading(std::atomic<std::int64_t>& bytes_read, const StopSignal& stop);

  struct Content {
    std::uint64_t checksum = 0;  // of all but the last `tail_bytes`
    std::string tail;            // the last `tail_bytes`, or all of a shorter file
  };
  // Throws DataError when the file is missing or cannot be read, naming the place.
  Content scan(const std::filesystem::path& file, std::size_t tail_bytes = 0);
  bool stopped() const { return stop_.requested(); }

 private:
  std::atomic<std::int64_t>& bytes_read_;
  const StopSignal& stop_;
  std::vector<std::byte> buffer_;
};

}  // namespace lsd::tasks::verifying
