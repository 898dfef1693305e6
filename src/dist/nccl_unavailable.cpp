// SPDX-License-Identifier: Apache-2.0
// Stands in for nccl/ in builds without NCCL: the same functions, which say so.
#include "lsd/core/error.h"
#include "lsd/dist/tensor_collectives.h"

namespace lsd::dist {

bool nccl_usable(std::string& why_not) {
  why_not =
      "this build has no NCCL; configure with -DLSD_WITH_NCCL=ON where nccl.h is installed, or use --collectives "
      "staged";
  return false;
}

std::unique_ptr<TensorCollectives> make_nccl_collectives(Backend&, std::unique_ptr<HostCommunicator>,
                                                         const CollectivesOptions&) {
  std::string why_not;
  nccl_usable(why_not);
  throw UserError(why_not);
}

}  // namespace lsd::dist
