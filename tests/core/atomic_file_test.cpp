// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/atomic_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "lsd/core/error.h"
#include "lsd/core/fault_point.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace fs = std::filesystem;

namespace lsd {
namespace {

std::size_t count_entries(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(AtomicFile, WritesAndReplacesWholeFiles) {
  const testing::TemporaryFolder folder;
  write_file_atomically(folder / "a", "first");
  EXPECT_EQ(read_text_file(folder / "a"), "first");
  write_file_atomically(folder / "a", std::string_view("second\0with a NUL", 17));
  EXPECT_EQ(read_text_file(folder / "a"), std::string("second\0with a NUL", 17));
  EXPECT_EQ(count_entries(folder.path()), 1U);
}

TEST(AtomicFile, AWriteThatFailsLeavesTheOldFileAndNoLeftovers) {
  const testing::TemporaryFolder folder;
  write_file_atomically(folder / "a", "old");
  const pid_t child = ::fork();  // the file size limit belongs to the process
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{4096, 4096};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      write_file_atomically(folder / "a", std::string(100'000, 'x'));
    } catch (const SystemError&) {
      ::_exit(42);
    }
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 42);
  EXPECT_EQ(read_text_file(folder / "a"), "old");
  EXPECT_EQ(count_entries(folder.path()), 1U);
}

TEST(AtomicFile, PartialNamesNeverRepeat) {
  const auto first = partial_path("folder/name.h5");
  const auto second = partial_path("folder/name.h5");
  EXPECT_NE(first, second);
  EXPECT_EQ(first.parent_path(), "folder");
  EXPECT_TRUE(first.filename().string().starts_with("name.h5."));
  EXPECT_EQ(first.extension(), ".partial");
}

TEST(AtomicFile, CommitsAFolderOfFiles) {
  const testing::TemporaryFolder folder;
  const auto partial = partial_path(folder / "step_10");
  fs::create_directories(partial / "inner");
  std::ofstream(partial / "inner" / "x") << "x";
  commit_folder(partial, folder / "step_10");
  EXPECT_EQ(read_text_file(folder / "step_10" / "inner" / "x"), "x");
  EXPECT_FALSE(fs::exists(partial));
}

TEST(AtomicFile, RemovesOnlyPartialsOfThatFolder) {
  const testing::TemporaryFolder folder;
  fs::create_directories(folder / "inner");
  fs::create_directories(folder / "dead.1.partial");
  for (const auto* name : {"keep", "dead.2.partial", "dead.1.partial/file", "inner/x.partial", "partial"})
    std::ofstream(folder / name) << "x";
  remove_partials(folder.path());
  EXPECT_TRUE(fs::exists(folder / "keep"));
  EXPECT_TRUE(fs::exists(folder / "partial"));
  EXPECT_TRUE(fs::exists(folder / "inner/x.partial"));
  EXPECT_EQ(count_entries(folder.path()), 3U);
}

TEST(AtomicFile, AMissingFileIsNamed) {
  testing::expect_error<DataError>([] { read_text_file("/no/such/file"); }, {"/no/such/file"});
  testing::expect_error<SystemError>([] { write_file_atomically("/no/such/file", "x"); }, {"/no/such/file"});
}

TEST(AtomicFile, RefusesWorkThatDoesNotFitTheDisk) {
  const testing::TemporaryFolder folder;
  const auto available = free_bytes_at(folder / "not/yet/there");
  EXPECT_GT(available, 0U);
  EXPECT_NO_THROW(require_free_space(folder / "not/yet/there", 1, "one byte"));
  testing::expect_error<SystemError>([&] { require_free_space(folder.path(), std::uint64_t{1} << 60U, "shards"); },
                                     {"shards", "1.0 EiB", "free"});
}

// A child stands still just before it puts its file in place; meanwhile another job's start removes leftovers.
TEST(AtomicFile, IsWrittenAgainWhenItsPartialIsTakenForALeftover) {
  const testing::TemporaryFolder folder;
  const pid_t child = ::fork();
  if (child == 0) {
    arm_faults("file.synced=stop", 0);
    write_file_atomically(folder / "a", "text");
    ::_exit(7);
  }
  int status = 0;
  ::waitpid(child, &status, WUNTRACED);
  ASSERT_TRUE(WIFSTOPPED(status));
  remove_partials(folder.path());
  ::kill(child, SIGCONT);
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 7);
  EXPECT_EQ(read_text_file(folder / "a"), "text");
}

TEST(AtomicFile, MessagesNameTheFileThatWasAskedForAndWhatToDo) {
  const testing::TemporaryFolder folder;
  try {
    write_file_atomically(folder / "gone/a.json", "{}");
    FAIL();
  } catch (const SystemError& error) {
    const std::string text = error.what();
    EXPECT_TRUE(text.starts_with("cannot write " + (folder / "gone/a.json").string() + ": No such file")) << text;
    EXPECT_EQ(text.find("partial"), std::string::npos) << text;
    EXPECT_NE(text.find("check the path"), std::string::npos) << text;
  }
  testing::expect_error<SystemError>([] { write_file_atomically("/proc/a.json", "{}"); },
                                     {"cannot write /proc/a.json"});
}

}  // namespace
}  // namespace lsd
