// SPDX-License-Identifier: Apache-2.0
#include "nccl_library_internal.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include "lsd/core/error.h"

namespace lsd::dist {
namespace {

constexpr const char* kFileName = "libnccl.so.2";
// The first with every call and every field of ncclConfig_t that is used here; that structure carries its size and
// version, so newer headers are understood.
constexpr int kOldestVersion = NCCL_VERSION(2, 18, 1);

template <class Function>
void look_up(void* handle, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(handle, name));
  if (function == nullptr)
    throw SystemError(fmt::format("{} has no {}: it is too old; this build needs NCCL {} or newer", kFileName, name,
                                  text_of_nccl_version(kOldestVersion)));
}

NcclLibrary load() {
  void* handle = ::dlopen(kFileName, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr)
    throw SystemError(
        fmt::format("NCCL cannot be loaded ({}); put its folder into LD_LIBRARY_PATH, or use "
                    "--collectives staged",
                    ::dlerror()));
  NcclLibrary library;
  look_up(handle, "ncclGetVersion", library.get_version);
  if (library.get_version(&library.version) != ncclSuccess || library.version < kOldestVersion)
    throw SystemError(
        fmt::format("{} is NCCL {}, but this build needs {} or newer; load the newer one, or use "
                    "--collectives staged",
                    kFileName, text_of_nccl_version(library.version), text_of_nccl_version(kOldestVersion)));
  look_up(handle, "ncclGetUniqueId", library.get_unique_id);
  look_up(handle, "ncclCommInitRankConfig", library.comm_init_rank_config);
  look_up(handle, "ncclCommGetAsyncError", library.comm_get_async_error);
  look_up(handle, "ncclCommDestroy", library.comm_destroy);
  look_up(handle, "ncclCommFinalize", library.comm_finalize);
  look_up(handle, "ncclCommAbort", library.comm_abort);
  look_up(handle, "ncclGetErrorString", library.get_error_string);
  look_up(handle, "ncclGetLastError", library.get_last_error);
  look_up(handle, "ncclAllReduce", library.all_reduce);
  look_up(handle, "ncclReduceScatter", library.reduce_scatter);
  look_up(handle, "ncclAllGather", library.all_gather);
  look_up(handle, "ncclBroadcast", library.broadcast);
  return library;
}

}  // namespace

const NcclLibrary& nccl_library() {
  static const NcclLibrary library = load();  // tried again at the next call when it throws
  return library;
}

std::string text_of_nccl_version(int version) {
  return version < 10000 ? fmt::format("{}.{}.{}", version / 1000, version / 100 % 10, version % 100)
                         : fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

}  // namespace lsd::dist
