// SPDX-License-Identifier: Apache-2.0
#include "launch_plans_internal.h"
#include "lsd/core/error.h"
#include "norms_internal.h"

namespace lsd::backends::cuda {
namespace {

class CudaNormOps : public NormOps {
 public:
  explicit CudaNormOps(CudaContext& context) : NormOps(context.ops), context_(context) {}

 private:
  // Plans ask for scratch, so a width that no kernel takes is refused before a run begins.
  std::size_t scratch_bytes(const NormForward& op) const override { return no_scratch(op); }
  std::size_t scratch_bytes(const AdaptiveNormForward& op) const override { return no_scratch(op); }
  std::size_t scratch_bytes(const NormBackward& op) const override { return scratch_bytes_of(op); }
  std::size_t scratch_bytes(const AdaptiveNormBackward& op) const override { return scratch_bytes_of(op); }
  void launch(const NormForward& op) override { launch_norm(context_, op); }
  void launch(const AdaptiveNormForward& op) override { launch_norm(context_, op); }
  void launch(const NormBackward& op) override {
    launch_norm(context_, op, context_.ops.scratch_for("NormBackward", scratch_bytes(op)));
  }
  void launch(const AdaptiveNormBackward& op) override {
    launch_norm(context_, op, context_.ops.scratch_for("AdaptiveNormBackward", scratch_bytes(op)));
  }

  template <class Op>
  static std::size_t no_scratch(const Op& op) {
    require_norm_width(op.x.shape()[1]);
    return 0;
  }

  CudaContext& context_;
};

}  // namespace

void require_norm_width(std::int64_t width) {
  constexpr int kVector = 8;
  if (row_threads(width, width % kVector == 0 ? kVector : 1) <= kMaxRowThreads) return;
  throw UserError("a norm over " + std::to_string(width) + " values: on a GPU there may be up to " +
                  std::to_string(kVector * kMaxRowThreads) + " of them, and up to " + std::to_string(kMaxRowThreads) +
                  " when they are no multiple of " + std::to_string(kVector) +
                  "; choose another model.width, or --backend cpu");
}

std::unique_ptr<NormOps> make_norm_ops(CudaContext& context) {
  return std::make_unique<CudaNormOps>(context);
}

}  // namespace lsd::backends::cuda
