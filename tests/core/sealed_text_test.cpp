// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/sealed_text.h"

#include <gtest/gtest.h>

#include "lsd/core/checksum.h"
#include "lsd/core/error.h"
#include "support/expect_error.h"

namespace lsd {
namespace {

const std::string kText = "{\n \"checksum\": \"0000000000000000\",\n \"a\": 1\n}\n";

TEST(SealedText, TheSealIsTheChecksumOfTheTextWithoutIt) {
  const auto sealed = seal_text(kText);
  EXPECT_EQ(sealed.substr(16, 16), checksum_hex(checksum64(kText)));
  EXPECT_EQ(seal_of(sealed), Seal::intact);
  EXPECT_NO_THROW(require_intact_seal(sealed));
}

TEST(SealedText, EveryFlippedBitShows) {
  const auto sealed = seal_text(kText);
  for (std::size_t at = 0; at < sealed.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      auto bad = sealed;
      bad[at] = static_cast<char>(bad[at] ^ (1 << bit));
      EXPECT_NE(seal_of(bad), Seal::intact) << at << ", bit " << bit;
    }
  }
  auto bad = sealed;
  bad[40] = '2';
  testing::expect_error<DataError>([&] { require_intact_seal(bad); }, {"edited or is damaged", "restore"});
}

TEST(SealedText, ATextWithoutOnePassesAndIsKnown) {
  EXPECT_EQ(seal_of("{\"a\": 1}"), Seal::absent);
  EXPECT_EQ(seal_of(""), Seal::absent);
  EXPECT_NO_THROW(require_intact_seal("{\"a\": 1}"));
  EXPECT_THROW(seal_text("{\"a\": 1}"), InternalError);
}

}  // namespace
}  // namespace lsd
