// SPDX-License-Identifier: Apache-2.0
#include "products_internal.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "cublaslt_library_internal.h"
#include "lsd/core/error.h"

namespace lsd::backends::cuda {
namespace {

cudaDataType_t type_of(DType type) {
  return type == DType::bfloat16 ? CUDA_R_16BF : CUDA_R_32F;
}

// The largest power of two, at most 256, that divides an address.
std::uint32_t alignment_of(const void* pointer) {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer) | 256U;
  return static_cast<std::uint32_t>(address & (~address + 1));
}

cublasLtEpilogue_t epilogue_of(Epilogue epilogue) {
  switch (epilogue) {
    case Epilogue::none:
      return CUBLASLT_EPILOGUE_DEFAULT;
    case Epilogue::bias:
      return CUBLASLT_EPILOGUE_BIAS;
    case Epilogue::gelu_bias:
      return CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
    case Epilogue::gelu_slope:
      return CUBLASLT_EPILOGUE_DGELU;
  }
  return CUBLASLT_EPILOGUE_DEFAULT;
}

bool has_aux(Epilogue epilogue) {
  return epilogue == Epilogue::gelu_bias || epilogue == Epilogue::gelu_slope;
}

struct Shape3 {
  DType operands, result;
  std::int64_t m, n, k;
  bool a_transposed, b_transposed, adds;
  Epilogue epilogue;
  std::uint32_t align_a, align_b, align_d, align_bias, align_aux;
  auto operator<=>(const Shape3&) const = default;
};

Shape3 shape_of(const Product& p) {
  return {.operands = p.a.dtype(),
          .result = p.d.dtype(),
          .m = p.m,
          .n = p.n,
          .k = p.k,
          .a_transposed = p.a_transposed,
          .b_transposed = p.b_transposed,
          .adds = p.beta != 0.0F,
          .epilogue = p.epilogue,
          .align_a = alignment_of(p.a.raw()),
          .align_b = alignment_of(p.b.raw()),
          .align_d = alignment_of(p.d.raw()),
          .align_bias = alignment_of(p.bias),
          .align_aux = alignment_of(p.aux)};
}

class Layout {
 public:
  Layout(DType type, std::int64_t rows, std::int64_t columns) {
    check_cublas(cublaslt().layout_create(&layout_, type_of(type), static_cast<std::uint64_t>(rows),
                                          static_cast<std::uint64_t>(columns), rows),
                 "describe a matrix");
  }
  Layout(Layout&& other) noexcept : layout_(std::exchange(other.layout_, nullptr)) {}
  Layout& operator=(Layout&&) = delete;
  ~Layout() {
    if (layout_ != nullptr) cublaslt().layout_destroy(layout_);
  }
  cublasLtMatrixLayout_t get() const { return layout_; }

 private:
  cublasLtMatrixLayout_t layout_ = nullptr;
};

class Description {
 public:
  Description() { check_cublas(cublaslt().desc_create(&desc_, CUBLAS_COMPUTE_32F, CUDA_R_32F), "describe a product"); }
  Description(Description&& other) noexcept : desc_(std::exchange(other.desc_, nullptr)) {}
  Description& operator=(Description&&) = delete;
  ~Description() {
    if (desc_ != nullptr) cublaslt().desc_destroy(desc_);
  }
  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) const {
    check_cublas(cublaslt().desc_set(desc_, attribute, &value, sizeof value), "set an attribute of a product");
  }
  cublasLtMatmulDesc_t get() const { return desc_; }

 private:
  cublasLtMatmulDesc_t desc_ = nullptr;
};

class Preference {
 public:
  Preference() { check_cublas(cublaslt().preference_create(&preference_), "make a preference of products"); }
  Preference(const Preference&) = delete;
  Preference& operator=(const Preference&) = delete;
  ~Preference() { cublaslt().preference_destroy(preference_); }
  template <class T>
  void set(cublasLtMatmulPreferenceAttributes_t attribute, const T& value) const {
    check_cublas(cublaslt().preference_set(preference_, attribute, &value, sizeof value),
                 "set a preference of products");
  }
  cublasLtMatmulPreference_t get() const { return preference_; }

 private:
  cublasLtMatmulPreference_t preference_ = nullptr;
};

// cuBLASLt counts columns first, so it is handed the transposed product: d^T [n, m] = op(b)^T op(a)^T. A row-major
// [r, c] matrix is a column-major [c, r] one with leading dimension c.
struct Plan {
  explicit Plan(const Shape3& s)
      : first(s.operands, s.b_transposed ? s.k : s.n, s.b_transposed ? s.n : s.k),
        second(s.operands, s.a_transposed ? s.m : s.k, s.a_transposed ? s.k : s.m),
        result(s.result, s.n, s.m) {
    description.set(CUBLASLT_MATMUL_DESC_TRANSA, s.b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    description.set(CUBLASLT_MATMUL_DESC_TRANSB, s.a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    description.set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue_of(s.epilogue));
    if (s.epilogue == Epilogue::bias || s.epilogue == Epilogue::gelu_bias)
      description.set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, static_cast<std::int32_t>(type_of(s.result)));
    if (!has_aux(s.epilogue)) return;
    description.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, s.n);
    description.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE, static_cast<std::int32_t>(type_of(s.result)));
  }
  Description description;
  Layout first, second, result;
  std::optional<cublasLtMatmulAlgo_t> algorithm;
};

void set_pointers(const Plan& plan, const Product& p) {
  if (p.epilogue == Epilogue::bias || p.epilogue == Epilogue::gelu_bias)
    plan.description.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
  if (has_aux(p.epilogue)) plan.description.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, p.aux);
}

}  // namespace

struct Products::Cache {
  const CudaContext& context;
  cublasLtHandle_t handle = nullptr;
  std::map<Shape3, Plan> plans;

  void choose(Plan& plan, const Shape3& shape) const {
    const Preference preference;
    preference.set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, Products::kWorkspaceBytes);
    preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, shape.align_b);
    preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, shape.align_a);
    preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, shape.align_d);
    preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, shape.align_d);
    // Splits of k are added up in the workspace, in order and in float32: in place they would be rounded to the
    // result's type one by one, in any order.
    preference.set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                   static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    cublasLtMatmulHeuristicResult_t found{};
    int count = 0;
    const auto status = cublaslt().heuristic(handle, plan.description.get(), plan.first.get(), plan.second.get(),
                                             plan.result.get(), plan.result.get(), preference.get(), 1, &found, &count);
    if (status == CUBLAS_STATUS_SUCCESS && count > 0 && found.state == CUBLAS_STATUS_SUCCESS)
      plan.algorithm = found.algo;
  }
};

Products::Products(const CudaContext& context) : cache_(new Cache{context, nullptr, {}}) {
  check_cublas(cublaslt().create(&cache_->handle), "start cuBLASLt");
}

Products::~Products() {
  cache_->plans.clear();
  if (cache_->handle != nullptr) cublaslt().destroy(cache_->handle);
}

bool Products::try_multiply(const Product& product, void* workspace) {
  const auto shape = shape_of(product);
  auto found = cache_->plans.find(shape);
  if (found == cache_->plans.end()) {
    found = cache_->plans.emplace(shape, Plan(shape)).first;
    set_pointers(found->second, product);
    cache_->choose(found->second, shape);
  }
  auto& plan = found->second;
  if (!plan.algorithm) return false;
  set_pointers(plan, product);
  const auto status = cublaslt().matmul(cache_->handle, plan.description.get(), &product.alpha, product.b.raw(),
                                        plan.first.get(), product.a.raw(), plan.second.get(), &product.beta,
                                        product.d.raw(), plan.result.get(), product.d.raw(), plan.result.get(),
                                        &*plan.algorithm, workspace, kWorkspaceBytes, cache_->context.stream);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED) {  // whatever its heuristic has said
    plan.algorithm.reset();
    return false;
  }
  check_cublas(status, "product [" + std::to_string(product.m) + ", " + std::to_string(product.k) + "] x [" +
                           std::to_string(product.k) + ", " + std::to_string(product.n) + "]");
  return true;
}

void Products::multiply(const Product& product, void* workspace) {
  if (product.m == 0 || product.n == 0) return;
  if (!try_multiply(product, workspace)) {
    check(product.epilogue == Epilogue::none, "a product with an epilogue goes through try_multiply");
    launch_plain_product(cache_->context, product);
  }
}

}  // namespace lsd::backends::cuda
