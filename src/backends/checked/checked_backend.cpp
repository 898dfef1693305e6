// SPDX-License-Identifier: Apache-2.0
// Two backends as one: every op runs on the fast one in place, and on copies of its operands on the reference; where
// they differ by more than rounding explains, it throws. For finding the first wrong op of a run. It allocates inside
// steps.
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "lsd/backends/make_backend.h"
#include "lsd/core/error.h"
#include "operands_internal.h"

namespace lsd::backends {
namespace {

// Largest difference accepted, as a ratio of Euclidean norms of a whole tensor. Sums of a real step may cancel, so
// these stand above what the backends' tests ask for on random operands.
double allowed_ratio(DType type) {
  return type == DType::bfloat16 ? 2e-2 : 1e-3;
}

std::vector<double> numbers_of(const void* data, DType type, std::int64_t count) {
  std::vector<double> out(static_cast<std::size_t>(count));
  const ConstTensorView view(data, type, {count});
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (type == DType::bfloat16)
      out[i] = static_cast<double>(static_cast<float>(view.data<BFloat16>()[i]));
    else if (type == DType::int32)
      out[i] = view.data<std::int32_t>()[i];
    else
      out[i] = static_cast<double>(view.data<float>()[i]);
  }
  return out;
}

// Copies of an op's operands in host memory. Operands that share memory share their copy too.
class HostCopies {
 public:
  HostCopies(Backend& from, Backend& host) : from_(from), host_(host) {}

  template <class View>
  void in(const char*, View& view) {
    view = copy_of(view);
  }
  void out(const char* name, TensorView& view) {
    if (!view.present()) return;
    const auto original = view;
    view = copy_of(view);
    outputs_.push_back({name, original, view});
  }
  void compare(std::string_view op) const {
    for (const auto& [name, original, expected] : outputs_) {
      std::vector<std::byte> bytes(static_cast<std::size_t>(original.bytes()));
      from_.copy_to_host(bytes.data(), original);
      from_.synchronize();
      compare_one(op, name, numbers_of(bytes.data(), original.dtype(), original.elements()),
                  numbers_of(expected.raw(), original.dtype(), original.elements()), original.dtype());
    }
  }

 private:
  struct Output {
    const char* name;
    TensorView original, expected;
  };

  TensorView copy_of(ConstTensorView view) {
    if (!view.present()) return {};
    auto& memory = copies_[{view.raw(), view.bytes()}];
    if (memory.data() == nullptr) {
      memory = host_.allocate(static_cast<std::size_t>(view.bytes()));
      from_.copy_to_host(memory.data(), view);
      from_.synchronize();
    }
    return {memory.data(), view.dtype(), view.shape(), Device::host};
  }

  static void compare_one(std::string_view op, const char* name, const std::vector<double>& actual,
                          const std::vector<double>& expected, DType type) {
    double difference = 0.0, total = 0.0;
    std::size_t worst = 0;
    for (std::size_t i = 0; i < actual.size(); ++i) {
      const double d = actual[i] - expected[i];
      difference += d * d;
      total += expected[i] * expected[i];
      if (!(std::abs(d) <= std::abs(actual[worst] - expected[worst]))) worst = i;
    }
    const double ratio = std::sqrt(difference) / std::max(std::sqrt(total), 1e-30);
    if (difference == 0.0 || ratio <= allowed_ratio(type)) return;
    throw InternalError(std::string(op) + ": operand " + name + " differs from the reference by a norm ratio of " +
                        std::to_string(ratio) + " (allowed " + std::to_string(allowed_ratio(type)) +
                        "); worst at element " + std::to_string(worst) + ": " + std::to_string(actual[worst]) +
                        " instead of " + std::to_string(expected[worst]));
  }

  Backend &from_, &host_;
  std::map<std::pair<const void*, std::int64_t>, DeviceMemory> copies_;
  std::vector<Output> outputs_;
};

struct Pair {
  std::unique_ptr<Backend> fast, reference;

  // `run` gives an op to a backend.
  template <class Op, class Run>
  void compare(std::string_view name, const Op& op, Run&& run) {
    Op copy = op;
    HostCopies copies(*fast, *reference);
    checked::visit_operands(copy, copies);
    fast->set_planning(true);
    run(*fast, op);
    fast->set_planning(false);
    fast->reserve_scratch(fast->planned_scratch_bytes());
    run(*fast, op);
    run(*reference, copy);
    copies.compare(name);
  }
};

class CheckedMatrixOps : public MatrixOps {
 public:
  CheckedMatrixOps(OpContext& context, Pair& pair) : MatrixOps(context), pair_(pair) {}

 private:
  static void give(Backend& to, const auto& op) { to.matrix().run(op); }
  void launch(const LinearForward& op) override { pair_.compare("LinearForward", op, give<LinearForward>); }
  void launch(const LinearBackwardInput& op) override {
    pair_.compare("LinearBackwardInput", op, give<LinearBackwardInput>);
  }
  void launch(const LinearBackwardWeight& op) override {
    pair_.compare("LinearBackwardWeight", op, give<LinearBackwardWeight>);
  }
  Pair& pair_;
};

class CheckedNormOps : public NormOps {
 public:
  CheckedNormOps(OpContext& context, Pair& pair) : NormOps(context), pair_(pair) {}

 private:
  static void give(Backend& to, const auto& op) { to.norm().run(op); }
  void launch(const NormForward& op) override { pair_.compare("NormForward", op, give<NormForward>); }
  void launch(const NormBackward& op) override { pair_.compare("NormBackward", op, give<NormBackward>); }
  void launch(const AdaptiveNormForward& op) override {
    pair_.compare("AdaptiveNormForward", op, give<AdaptiveNormForward>);
  }
  void launch(const AdaptiveNormBackward& op) override {
    pair_.compare("AdaptiveNormBackward", op, give<AdaptiveNormBackward>);
  }
  Pair& pair_;
};

class CheckedAttentionOps : public AttentionOps {
 public:
  CheckedAttentionOps(OpContext& context, Pair& pair) : AttentionOps(context), pair_(pair) {}

 private:
  static void give(Backend& to, const auto& op) { to.attention().run(op); }
  void launch(const AttentionForward& op) override { pair_.compare("AttentionForward", op, give<AttentionForward>); }
  void launch(const AttentionBackward& op) override { pair_.compare("AttentionBackward", op, give<AttentionBackward>); }
  Pair& pair_;
};

class CheckedPointwiseOps : public PointwiseOps {
 public:
  CheckedPointwiseOps(OpContext& context, Pair& pair) : PointwiseOps(context), pair_(pair) {}

 private:
  static void give(Backend& to, const auto& op) { to.pointwise().run(op); }
  void launch(const Fill& op) override { pair_.compare("Fill", op, give<Fill>); }
  void launch(const Cast& op) override { pair_.compare("Cast", op, give<Cast>); }
  void launch(const GeluForward& op) override { pair_.compare("GeluForward", op, give<GeluForward>); }
  void launch(const GeluBackward& op) override { pair_.compare("GeluBackward", op, give<GeluBackward>); }
  void launch(const SiluForward& op) override { pair_.compare("SiluForward", op, give<SiluForward>); }
  void launch(const SiluBackward& op) override { pair_.compare("SiluBackward", op, give<SiluBackward>); }
  void launch(const EmbeddingForward& op) override { pair_.compare("EmbeddingForward", op, give<EmbeddingForward>); }
  void launch(const EmbeddingBackward& op) override { pair_.compare("EmbeddingBackward", op, give<EmbeddingBackward>); }
  void launch(const ColumnAffine& op) override { pair_.compare("ColumnAffine", op, give<ColumnAffine>); }
  void launch(const LinearCombination& op) override { pair_.compare("LinearCombination", op, give<LinearCombination>); }
  void launch(const SinusoidalFeatures& op) override {
    pair_.compare("SinusoidalFeatures", op, give<SinusoidalFeatures>);
  }
  Pair& pair_;
};

class CheckedRandomOps : public RandomOps {
 public:
  CheckedRandomOps(OpContext& context, Pair& pair) : RandomOps(context), pair_(pair) {}

 private:
  static void give(Backend& to, const auto& op) { to.random().run(op); }
  void launch(const UniformPerRow& op) override { pair_.compare("UniformPerRow", op, give<UniformPerRow>); }
  void launch(const NoiseMix& op) override { pair_.compare("NoiseMix", op, give<NoiseMix>); }
  void launch(const NoiseMixBackward& op) override { pair_.compare("NoiseMixBackward", op, give<NoiseMixBackward>); }
  Pair& pair_;
};

class CheckedLossOps : public LossOps {
 public:
  CheckedLossOps(OpContext& context, Pair& pair) : LossOps(context), pair_(pair) {}

 private:
  static void give(Backend& to, const auto& op) { to.loss().run(op); }
  void launch(const CrossEntropy& op) override { pair_.compare("CrossEntropy", op, give<CrossEntropy>); }
  void launch(const SquaredError& op) override { pair_.compare("SquaredError", op, give<SquaredError>); }
  Pair& pair_;
};

class CheckedReduceOps : public ReduceOps {
 public:
  CheckedReduceOps(OpContext& context, Pair& pair) : ReduceOps(context), pair_(pair) {}

 private:
  static void give(Backend& to, const auto& op) { to.reduce().run(op); }
  void launch(const GroupMoments& op) override { pair_.compare("GroupMoments", op, give<GroupMoments>); }
  void launch(const UnivariateKl& op) override { pair_.compare("UnivariateKl", op, give<UnivariateKl>); }
  void launch(const MomentGradient& op) override { pair_.compare("MomentGradient", op, give<MomentGradient>); }
  void launch(const MultivariateKl& op) override { pair_.compare("MultivariateKl", op, give<MultivariateKl>); }
  void launch(const SequenceMean& op) override { pair_.compare("SequenceMean", op, give<SequenceMean>); }
  Pair& pair_;
};

class CheckedOptimizerOps : public OptimizerOps {
 public:
  CheckedOptimizerOps(OpContext& context, Pair& pair) : OptimizerOps(context), pair_(pair) {}

 private:
  static void give(Backend& to, const auto& op) { to.optimizer().run(op); }
  void launch(const SquaredNorm& op) override { pair_.compare("SquaredNorm", op, give<SquaredNorm>); }
  void launch(const AdamW& op) override { pair_.compare("AdamW", op, give<AdamW>); }
  Pair& pair_;
};

class CheckedBackend : public Backend {
 public:
  CheckedBackend(std::unique_ptr<Backend> fast, std::unique_ptr<Backend> reference)
      : pair_{std::move(fast), std::move(reference)} {}
  std::string_view name() const override { return "checked"; }
  std::string description() const override {
    return pair_.fast->description() + ", every op checked against " + pair_.reference->description();
  }
  Device device() const override { return pair_.fast->device(); }
  MatrixOps& matrix() override { return matrix_; }
  NormOps& norm() override { return norm_; }
  AttentionOps& attention() override { return attention_; }
  PointwiseOps& pointwise() override { return pointwise_; }
  RandomOps& random() override { return random_; }
  LossOps& loss() override { return loss_; }
  ReduceOps& reduce() override { return reduce_; }
  OptimizerOps& optimizer() override { return optimizer_; }

  DeviceMemory allocate(std::size_t bytes) override {
    return planning() ? DeviceMemory(nullptr, bytes, nullptr) : pair_.fast->allocate(bytes);
  }
  void copy_to_device(TensorView to, const void* from) override {
    if (!planning()) pair_.fast->copy_to_device(to, from);
  }
  void copy_to_host(void* to, ConstTensorView from) override {
    if (!planning()) pair_.fast->copy_to_host(to, from);
  }
  void copy_on_device(TensorView to, ConstTensorView from) override {
    if (!planning()) pair_.fast->copy_on_device(to, from);
  }
  void synchronize() override { pair_.fast->synchronize(); }

 private:
  Pair pair_;
  CheckedMatrixOps matrix_{context_, pair_};
  CheckedNormOps norm_{context_, pair_};
  CheckedAttentionOps attention_{context_, pair_};
  CheckedPointwiseOps pointwise_{context_, pair_};
  CheckedRandomOps random_{context_, pair_};
  CheckedLossOps loss_{context_, pair_};
  CheckedReduceOps reduce_{context_, pair_};
  CheckedOptimizerOps optimizer_{context_, pair_};
};

}  // namespace

std::unique_ptr<Backend> make_checked_backend(std::unique_ptr<Backend> fast, std::unique_ptr<Backend> reference) {
  return std::make_unique<CheckedBackend>(std::move(fast), std::move(reference));
}

}  // namespace lsd::backends
