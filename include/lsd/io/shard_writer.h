// SPDX-License-Identifier: Apache-2.0
#pragma once
// Writes one shard file, whole or not at all. Equal content gives equal bytes: no time stamps, no host names.

#include <filesystem>

#include "lsd/io/shard_format.h"

namespace lsd::io {

// Writes `folder`/shard_name(identity) through a partial file that is synced and renamed. Throws SystemError when the
// disk refuses, InternalError when the tables of `content` contradict each other.
ShardEntry write_shard(const std::filesystem::path& folder, const ShardIdentity& identity, const ShardContent& content);

}  // namespace lsd::io
