// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "lsd/core/error.h"
#include "lsd/dist/tensor_collectives.h"

namespace lsd::dist {
namespace {

class SingleCollectives final : public TensorCollectives {
 public:
  explicit SingleCollectives(Backend* backend) : backend_(backend) {}

  std::string_view name() const override { return "single"; }
  Ticket all_reduce_sum(TensorView) override { return ++tickets_; }
  Ticket reduce_scatter_sum(ConstTensorView values, TensorView slice) override { return copy(values, slice); }
  Ticket all_gather(ConstTensorView slice, TensorView values) override { return copy(slice, values); }
  Ticket broadcast(TensorView, int root) override {
    check(root == 0, "the root of a broadcast is a rank");
    return ++tickets_;
  }
  void wait(Ticket ticket) override {
    check(ticket > 0 && ticket <= tickets_, "wait takes a ticket that was given out");
  }

 private:
  // A rank alone holds the only slice.
  Ticket copy(ConstTensorView from, TensorView to) {
    check(from.elements() == to.elements(), "the slice of a single rank is the whole tensor");
    if (from.raw() == to.raw()) return ++tickets_;
    if (from.device() == Device::host) {
      std::memcpy(to.raw(), from.raw(), static_cast<std::size_t>(from.bytes()));
    } else {
      check(backend_ != nullptr, "copies on a device need its backend");
      backend_->copy_on_device(to.reshaped({to.elements()}), from.reshaped({from.elements()}));
    }
    return ++tickets_;
  }

  Backend* backend_;
  Ticket tickets_ = 0;
};

}  // namespace

std::unique_ptr<TensorCollectives> make_single_collectives() {
  return std::make_unique<SingleCollectives>(nullptr);
}
std::unique_ptr<TensorCollectives> make_single_collectives(Backend& backend) {
  return std::make_unique<SingleCollectives>(&backend);
}

}  // namespace lsd::dist
