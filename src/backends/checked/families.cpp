// SPDX-License-Identifier: Apache-2.0
#include "families_internal.h"

#include <type_traits>

#include "host_copies_internal.h"
#include "operands_internal.h"

namespace lsd::backends::checked {
namespace {

// Overrides launch() for every op of the family that a member function of Backend names, one op a level.
template <auto kFamily, class... Ops>
class CheckedFamily;

template <auto kFamily>
class CheckedFamily<kFamily> : public std::remove_reference_t<std::invoke_result_t<decltype(kFamily), Backend&>> {
  using Family = std::remove_reference_t<std::invoke_result_t<decltype(kFamily), Backend&>>;

 public:
  explicit CheckedFamily(const Setup& setup) : Family(setup.context), pair_(setup.pair) {}

 protected:
  template <class Op>
  void compare(const Op& op) {
    auto &fast = *pair_.fast, &reference = *pair_.reference;
    Op copy = op;
    HostCopies copies(fast, reference);
    visit_operands(copy, copies);
    fast.set_planning(true);
    (fast.*kFamily)().run(op);
    fast.set_planning(false);
    fast.reserve_scratch(fast.planned_scratch_bytes());
    (fast.*kFamily)().run(op);
    (reference.*kFamily)().run(copy);
    copies.compare(pair_.running);
  }

 private:
  Pair& pair_;
};

template <auto kFamily, class Op, class... Rest>
class CheckedFamily<kFamily, Op, Rest...> : public CheckedFamily<kFamily, Rest...> {
 public:
  using CheckedFamily<kFamily, Rest...>::CheckedFamily;

 private:
  void launch(const Op& op) override { this->compare(op); }
};

}  // namespace

Pair::Pair(std::unique_ptr<Backend> fast_backend, std::unique_ptr<Backend> reference_backend)
    : fast(std::move(fast_backend)), reference(std::move(reference_backend)) {
  fast->op_context().begin_range = [this](std::string_view op) { running = op; };
}

std::unique_ptr<MatrixOps> make_matrix_ops(const Setup& setup) {
  return std::make_unique<CheckedFamily<&Backend::matrix, LinearForward, LinearBackwardInput, LinearBackwardWeight>>(
      setup);
}

std::unique_ptr<NormOps> make_norm_ops(const Setup& setup) {
  return std::make_unique<
      CheckedFamily<&Backend::norm, NormForward, NormBackward, AdaptiveNormForward, AdaptiveNormBackward>>(setup);
}

std::unique_ptr<AttentionOps> make_attention_ops(const Setup& setup) {
  return std::make_unique<CheckedFamily<&Backend::attention, AttentionForward, AttentionBackward>>(setup);
}

std::unique_ptr<PointwiseOps> make_pointwise_ops(const Setup& setup) {
  return std::make_unique<
      CheckedFamily<&Backend::pointwise, Fill, Cast, GeluForward, GeluBackward, SiluForward, SiluBackward,
                    EmbeddingForward, EmbeddingBackward, ColumnAffine, LinearCombination, SinusoidalFeatures>>(setup);
}

std::unique_ptr<RandomOps> make_random_ops(const Setup& setup) {
  return std::make_unique<CheckedFamily<&Backend::random, UniformPerRow, NoiseMix, NoiseMixBackward>>(setup);
}

std::unique_ptr<LossOps> make_loss_ops(const Setup& setup) {
  return std::make_unique<CheckedFamily<&Backend::loss, CrossEntropy, SquaredError>>(setup);
}

std::unique_ptr<ReduceOps> make_reduce_ops(const Setup& setup) {
  return std::make_unique<
      CheckedFamily<&Backend::reduce, GroupMoments, UnivariateKl, MomentGradient, MultivariateKl, SequenceMean>>(setup);
}

std::unique_ptr<OptimizerOps> make_optimizer_ops(const Setup& setup) {
  return std::make_unique<CheckedFamily<&Backend::optimizer, SquaredNorm, AdamW>>(setup);
}

}  // namespace lsd::backends::checked
