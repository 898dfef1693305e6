// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <map>

#include "agreement_internal.h"
#include "lsd/core/error.h"
#include "lsd/core/host_name.h"
#include "lsd/dist/tensor_collectives.h"

namespace lsd::dist {
namespace {

bool all_ranks(HostCommunicator& ranks, bool here) {
  std::int64_t missing = here ? 0 : 1;
  ranks.all_reduce_max(std::span(&missing, 1));
  return missing == 0;
}

}  // namespace

void require_own_gpus(HostCommunicator& ranks, const std::string& gpu) {
  const std::string mine = gpu.empty() ? "" : fmt::format("{} on {}", gpu, host_name());
  const auto all = ranks.all_gather(std::as_bytes(std::span(mine)));
  std::map<std::string, int> owner;
  for (int r = 0; r < static_cast<int>(all.size()); ++r) {
    const auto& bytes = all[static_cast<std::size_t>(r)];
    const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (text.empty()) continue;
    const auto [found, is_first] = owner.try_emplace(text.substr(0, text.find(' ')), r);  // hosts may share a name
    if (!is_first)
      throw UserError(
          fmt::format("ranks {} and {} are both bound to {}; start one rank per GPU (see --device, "
                      "CUDA_VISIBLE_DEVICES and the launcher's binding), or share it on purpose with "
                      "--collectives staged",
                      found->second, r, text));
  }
}

std::unique_ptr<TensorCollectives> make_collectives(std::string_view name, Backend& backend, HostCommunicator& ranks,
                                                    const CollectivesOptions& options) {
  if (name != "auto" && name != "nccl" && name != "staged")
    throw UserError(fmt::format("unknown collectives '{}'; use auto, nccl or staged", name));
  if (name != "staged") require_own_gpus(ranks, options.gpu);
  std::string why_not;
  const bool wanted = name == "nccl" || (name == "auto" && ranks.size() > 1 && backend.device() == Device::cuda &&
                                         all_ranks(ranks, nccl_usable(why_not)));
  if (wanted) return make_nccl_collectives(backend, ranks.duplicate(), options);
  if (ranks.size() == 1) return make_single_collectives(backend);
  return make_staged_collectives(backend, ranks.duplicate(), options.allocate_on_host);
}

}  // namespace lsd::dist
