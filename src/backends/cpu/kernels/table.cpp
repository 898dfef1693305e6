// SPDX-License-Identifier: Apache-2.0
#include "declarations_internal.h"

namespace lsd::backends::cpu::LSD_CPU_ISA {

extern const Kernels kKernels = {
    .name = kIsaName,
    .widen = widen,
    .narrow = narrow,
    .gelu = gelu,
    .gelu_backward = gelu_backward,
    .silu = silu,
    .silu_backward = silu_backward,
    .linear_combination = linear_combination,
    .scale = scale,
    .add_scaled = add_scaled,
    .multiply = multiply,
    .add_product = add_product,
    .affine = affine,
    .cosines = cosines,
    .norm = norm,
    .norm_backward = norm_backward,
    .entropy = entropy,
    .squared_error = squared_error,
    .add_squared_deviation = add_squared_deviation,
    .moment_gradient = moment_gradient,
    .dot = dot,
    .sum_of_squares = sum_of_squares,
    .adamw = adamw,
    .normals = normals,
    .attention_scratch = attention_scratch,
    .attention_forward = attention_forward,
    .attention_backward = attention_backward,
};

}  // namespace lsd::backends::cpu::LSD_CPU_ISA
