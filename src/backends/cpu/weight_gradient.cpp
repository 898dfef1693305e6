// SPDX-License-Identifier: Apache-2.0
#include "weight_gradient_internal.h"

namespace lsd::backends::cpu {

WeightGradient::Cut::Cut(std::int64_t rows, std::int64_t out)
    : slice_rows(std::max<std::int64_t>(1, ceil_div(ceil_div(rows, kSlices), kDepth)) * kDepth),
      slices(std::max<std::int64_t>(1, ceil_div(rows, slice_rows))),
      columns(std::min(out, kColumns)),
      blocks(ceil_div(out, columns)) {}

WeightGradient::WeightGradient(const Setup& setup, Products& products, const LinearBackwardWeight& op)
    : setup_(setup),
      products_(products),
      op_(op),
      rows_(op.x.shape()[0]),
      in_(op.x.shape()[1]),
      out_(op.grad_y.shape()[1]),
      cut_(rows_, out_),
      round_first_(op.grad_y.dtype() != op.x.dtype()) {
  if (rows_ == 0) return;
  for (const auto depth : {std::min(rows_, Cut::kDepth), (rows_ - 1) % Cut::kDepth + 1})
    for (const auto columns : {cut_.columns, out_ - (cut_.blocks - 1) * cut_.columns})
      for (const bool first : {true, false})
        product_bytes_ =
            std::max(product_bytes_, whole_lines(products_.needs(shape(depth, columns, first)).scratch_bytes));
  if (cut_.slices > 1) partial_bytes_ = ScratchCursor::bytes_of<float>(cut_.slices * out_ * in_);
  bias_bytes_ = ScratchCursor::bytes_of<float>(cut_.slices * out_);
  thread_bytes_ = product_bytes_ + ScratchCursor::bytes_of<float>(cut_.columns);
  if (round_first_) thread_bytes_ += ScratchCursor::bytes_of<std::uint16_t>(Cut::kDepth * cut_.columns);
}

// partial[columns, in] (+)= grad_y[rows, columns]^T x[rows, in]. A single slice adds to the gradient itself.
ProductShape WeightGradient::shape(std::int64_t rows, std::int64_t columns, bool first) const {
  return {.a = op_.x.dtype(),
          .c = DType::float32,
          .m = columns,
          .n = in_,
          .k = rows,
          .a_stride = round_first_ ? columns : out_,
          .b_stride = in_,
          .a_transposed = true,
          .add = !first || cut_.slices == 1};
}

void WeightGradient::run(void* scratch) const {
  auto* memory = static_cast<std::byte*>(scratch);
  parallel_for(setup_.threads, cut_.slices * cut_.blocks,
               [&](std::int64_t task, int thread) { run_task(task, thread, memory); });
  add_partials(partials_in(memory), biases_in(memory));
}

void WeightGradient::run_task(std::int64_t task, int thread, std::byte* memory) const {
  const auto slice = task / cut_.blocks, column = task % cut_.blocks * cut_.columns;
  const auto first = slice * cut_.slice_rows, last = std::min(rows_, first + cut_.slice_rows);
  const auto columns = std::min(cut_.columns, out_ - column);
  ScratchCursor cursor(memory + partial_bytes_ + bias_bytes_ + static_cast<std::size_t>(thread) * thread_bytes_);
  auto* scratch = cursor.take<std::byte>(static_cast<std::int64_t>(product_bytes_));
  auto* buffer = cursor.take<float>(cut_.columns);
  auto* rounded = round_first_ ? cursor.take<std::uint16_t>(Cut::kDepth * cut_.columns) : nullptr;
  for (auto begin = first; begin < last; begin += Cut::kDepth) {
    const auto end = std::min(last, begin + Cut::kDepth);
    const void* a =
        static_cast<const std::byte*>(op_.grad_y.raw()) + (begin * out_ + column) * size_of(op_.grad_y.dtype());
    if (round_first_) {
      for (auto r = begin; r < end; ++r)
        setup_.kernels.narrow(op_.grad_y.data<float>() + r * out_ + column, rounded + (r - begin) * columns, columns);
      a = rounded;
    }
    products_.multiply(shape(end - begin, columns, begin == first), a,
                       static_cast<const std::byte*>(op_.x.raw()) + begin * in_ * size_of(op_.x.dtype()), nullptr,
                       partials_in(memory) + (slice * out_ + column) * in_, scratch);
  }
  if (op_.grad_bias.present()) add_bias(slice, column, columns, biases_in(memory), buffer);
}

void WeightGradient::add_bias(std::int64_t slice, std::int64_t column, std::int64_t columns, float* biases,
                              float* buffer) const {
  const Reader grad_y(op_.grad_y, setup_.kernels);
  float* sums = biases + slice * out_ + column;
  std::fill_n(sums, columns, 0.0F);
  const auto first = slice * cut_.slice_rows, last = std::min(rows_, first + cut_.slice_rows);
  for (auto r = first; r < last; ++r)
    setup_.kernels.add_scaled(1.0F, grad_y.read(r * out_ + column, columns, buffer), sums, columns);
}

void WeightGradient::add_partials(const float* weights, const float* biases) const {
  const auto count = out_ * in_;
  if (op_.grad_bias.present())
    for (std::int64_t s = 0; s < cut_.slices; ++s)
      setup_.kernels.add_scaled(1.0F, biases + s * out_, op_.grad_bias.data<float>(), out_);
  if (cut_.slices == 1) return;
  parallel_rows(setup_.threads, count, 4 * kChunk, [&](std::int64_t first, std::int64_t last, int) {
    for (std::int64_t s = 0; s < cut_.slices; ++s)
      setup_.kernels.add_scaled(1.0F, weights + s * count + first, op_.grad_weight.data<float>() + first, last - first);
  });
}

}  // namespace lsd::backends::cpu
