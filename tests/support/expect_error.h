// SPDX-License-Identifier: Apache-2.0
#pragma once
// Runs `body`, which must throw an `Exception` whose text holds every one of `words`.

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>

namespace lsd::testing {

template <class Exception, class Body>
void expect_error(Body&& body, std::initializer_list<std::string> words) {
  try {
    body();
  } catch (const Exception& error) {
    const std::string text = error.what();
    for (const auto& word : words) EXPECT_NE(text.find(word), std::string::npos) << "no '" << word << "' in: " << text;
    return;
  }
  ADD_FAILURE() << "nothing was thrown";
}

}  // namespace lsd::testing
