// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/json_text.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace lsd {
namespace {

TEST(JsonText, BytesThatAreNoUtf8StandAsReplacements) {
  const nlohmann::ordered_json json = {{"file", "caf\xE9.fasta"}, {"name", "caf\xC3\xA9"}};
  EXPECT_EQ(json_text(json), "{\"file\":\"caf\xEF\xBF\xBD.fasta\",\"name\":\"caf\xC3\xA9\"}");
  EXPECT_EQ(json_text(nlohmann::json{{"a", 1}}, 1), "{\n \"a\": 1\n}");
}

}  // namespace
}  // namespace lsd
