// SPDX-License-Identifier: Apache-2.0
#pragma once
// NCCL's functions, looked up when first needed: a program starts, and runs with staged collectives, where the library
// is missing.

#include <nccl.h>

#include <string>

namespace lsd::dist {

struct NcclLibrary {
  decltype(&ncclGetVersion) get_version = nullptr;
  decltype(&ncclGetUniqueId) get_unique_id = nullptr;
  decltype(&ncclCommInitRankConfig) comm_init_rank_config = nullptr;
  decltype(&ncclCommGetAsyncError) comm_get_async_error = nullptr;
  decltype(&ncclCommDestroy) comm_destroy = nullptr;
  decltype(&ncclCommFinalize) comm_finalize = nullptr;
  decltype(&ncclCommAbort) comm_abort = nullptr;
  decltype(&ncclGetErrorString) get_error_string = nullptr;
  decltype(&ncclGetLastError) get_last_error = nullptr;
  decltype(&ncclAllReduce) all_reduce = nullptr;
  decltype(&ncclReduceScatter) reduce_scatter = nullptr;
  decltype(&ncclAllGather) all_gather = nullptr;
  decltype(&ncclBroadcast) broadcast = nullptr;

  int version = 0;  // ncclGetVersion's
};

// Throws SystemError where the library is missing, or older than the headers of this build.
const NcclLibrary& nccl_library();
std::string text_of_nccl_version(int version);  // "2.28.9"

}  // namespace lsd::dist
