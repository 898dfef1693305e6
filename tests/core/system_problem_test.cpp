// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/system_problem.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "lsd/core/checksum.h"
#include "lsd/core/error.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lsd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(SystemProblem, SaysWhatToDoWhereThatIsKnown) {
  EXPECT_THAT(system_problem(EACCES), AllOf(HasSubstr("Permission denied"), HasSubstr("rights")));
  EXPECT_THAT(system_problem(EROFS), AllOf(HasSubstr("Read-only file system"), HasSubstr("where you may write")));
  EXPECT_THAT(system_problem(ENOENT), AllOf(HasSubstr("No such file"), HasSubstr("check the path")));
  EXPECT_THAT(system_problem(ENOSPC), AllOf(HasSubstr("No space left"), HasSubstr("free some space")));
  EXPECT_EQ(system_problem(EINTR), "Interrupted system call");
}

TEST(SystemProblem, StandsBehindTheFileThatHasIt) {
  const testing::TemporaryFolder folder;
  testing::expect_error<DataError>([&] { checksum_of_file(folder / "gone"); },
                                   {"cannot open " + (folder / "gone").string() + ": No such file", "check the path"});
}

}  // namespace
}  // namespace lsd
