// SPDX-License-Identifier: Apache-2.0
#pragma once
// bfloat16 as kernels use it, on the host.

#include "lsd/tensor/dtype.h"

struct __nv_bfloat16 {
  lsd::BFloat16 value;
};
struct __nv_bfloat162 {
  __nv_bfloat16 x, y;
};

inline float __bfloat162float(__nv_bfloat16 x) {
  return static_cast<float>(x.value);
}
inline __nv_bfloat16 __float2bfloat16_rn(float x) {
  return {lsd::BFloat16(x)};
}
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) {
  return {__float2bfloat16_rn(x), __float2bfloat16_rn(y)};
}
