// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstring>

#include "cublasLt.h"
#include "cublaslt_library_internal.h"
#include "lsd/core/error.h"
#include "lsd/tensor/dtype.h"

struct EmulatedProduct {
  cublasOperation_t op_a = CUBLAS_OP_N, op_b = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
  void* aux = nullptr;
  std::int64_t aux_leading = 0;
  cudaDataType_t bias_type = CUDA_R_32F, aux_type = CUDA_R_32F;
};
struct EmulatedLayout {
  cudaDataType_t type;
  std::int64_t rows, columns, leading;
};
struct EmulatedPreference {};

namespace {

float read(const void* data, cudaDataType_t type, std::int64_t i) {
  if (type == CUDA_R_32F) return static_cast<const float*>(data)[i];
  return static_cast<float>(static_cast<const lsd::BFloat16*>(data)[i]);
}

void write(void* data, cudaDataType_t type, std::int64_t i, double value) {
  if (type == CUDA_R_32F)
    static_cast<float*>(data)[i] = static_cast<float>(value);
  else
    static_cast<lsd::BFloat16*>(data)[i] = lsd::BFloat16(static_cast<float>(value));
}

double tanh_of_gelu(double x) {
  return std::tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x));
}
double gelu(double x) {
  return 0.5 * x * (1.0 + tanh_of_gelu(x));
}
double gelu_slope(double x) {
  const double t = tanh_of_gelu(x);
  return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * 0.79788456080286535588 * (1.0 + 3.0 * 0.044715 * x * x);
}

// What the manual says of the epilogues; the bias is a vector along the rows of the column-major result.
double after_epilogue(const EmulatedProduct& p, double value, std::int64_t row, std::int64_t column) {
  const auto aux_at = row + column * p.aux_leading;
  if (p.epilogue == CUBLASLT_EPILOGUE_BIAS || p.epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS)
    value += static_cast<double>(read(p.bias, p.bias_type, row));
  if (p.epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS) {
    write(p.aux, p.aux_type, aux_at, value);
    return gelu(value);
  }
  if (p.epilogue == CUBLASLT_EPILOGUE_DGELU)
    return value * gelu_slope(static_cast<double>(read(p.aux, p.aux_type, aux_at)));
  return value;
}

}  // namespace

cublasStatus_t cublasLtCreate(cublasLtHandle_t*) {
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t) {
  return CUBLAS_STATUS_SUCCESS;
}
std::size_t cublasLtGetVersion() {
  return 130000;
}
const char* cublasLtGetStatusString(cublasStatus_t) {
  return "not supported";
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc, cublasComputeType_t, cudaDataType_t) {
  *desc = new EmulatedProduct;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
  delete desc;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, std::size_t bytes) {
  const auto set = [&](auto& target) {
    lsd::check(bytes == sizeof target, "an attribute of a product has the size that cuBLASLt's manual gives");
    std::memcpy(&target, value, sizeof target);
  };
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      set(desc->op_a);
      break;
    case CUBLASLT_MATMUL_DESC_TRANSB:
      set(desc->op_b);
      break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      set(desc->epilogue);
      break;
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      set(desc->bias);
      break;
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
      set(desc->bias_type);
      break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER:
      set(desc->aux);
      break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD:
      set(desc->aux_leading);
      break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE:
      set(desc->aux_type);
      break;
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType_t type, std::uint64_t rows,
                                          std::uint64_t columns, std::int64_t leading) {
  *layout = new EmulatedLayout{type, static_cast<std::int64_t>(rows), static_cast<std::int64_t>(columns), leading};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = new EmulatedPreference;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void*,
                                                    std::size_t bytes) {
  const bool is_size = attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
  lsd::check(bytes == (is_size ? sizeof(std::uint64_t) : sizeof(std::uint32_t)), "a preference has its size");
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t, int,
                                              cublasLtMatmulHeuristicResult_t* results, int* found) {
  const bool odd = a->leading % 2 != 0 || b->leading % 2 != 0 || d->leading % 2 != 0;
  *found = odd ? 0 : 1;
  if (!odd) results[0] = {{}, CUBLAS_STATUS_SUCCESS};
  return odd ? CUBLAS_STATUS_NOT_SUPPORTED : CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t p, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout,
                              const void* beta, const void* c, cublasLtMatrixLayout_t, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t*, void*, std::size_t,
                              cudaStream_t) {
  const bool a_turned = p->op_a == CUBLAS_OP_T, b_turned = p->op_b == CUBLAS_OP_T;
  const auto depth = a_turned ? a_layout->rows : a_layout->columns;
  lsd::check((a_turned ? a_layout->columns : a_layout->rows) == d_layout->rows &&
                 (b_turned ? b_layout->columns : b_layout->rows) == depth &&
                 (b_turned ? b_layout->rows : b_layout->columns) == d_layout->columns,
             "the shapes of a product fit");
  const auto scale = *static_cast<const float*>(alpha), keep = *static_cast<const float*>(beta);
  for (std::int64_t column = 0; column < d_layout->columns; ++column)
    for (std::int64_t row = 0; row < d_layout->rows; ++row) {
      double sum = 0.0;
      for (std::int64_t k = 0; k < depth; ++k)
        sum += static_cast<double>(
                   read(a, a_layout->type, a_turned ? k + row * a_layout->leading : row + k * a_layout->leading)) *
               static_cast<double>(
                   read(b, b_layout->type, b_turned ? column + k * b_layout->leading : k + column * b_layout->leading));
      const auto at = row + column * d_layout->leading;
      double value = static_cast<double>(scale) * sum;
      if (keep != 0.0F) value += static_cast<double>(keep * read(c, d_layout->type, at));
      write(d, d_layout->type, at, after_epilogue(*p, value, row, column));
    }
  return CUBLAS_STATUS_SUCCESS;
}

namespace lsd::backends::cuda {

const CublasLt& cublaslt() {
  static const CublasLt library{cublasLtCreate,
                                cublasLtDestroy,
                                cublasLtGetVersion,
                                cublasLtGetStatusString,
                                cublasLtMatmul,
                                cublasLtMatmulAlgoGetHeuristic,
                                cublasLtMatmulDescCreate,
                                cublasLtMatmulDescDestroy,
                                cublasLtMatmulDescSetAttribute,
                                cublasLtMatrixLayoutCreate,
                                cublasLtMatrixLayoutDestroy,
                                cublasLtMatmulPreferenceCreate,
                                cublasLtMatmulPreferenceDestroy,
                                cublasLtMatmulPreferenceSetAttribute};
  return library;
}

void check_cublas(cublasStatus_t status, std::string_view what, std::source_location where) {
  if (status != CUBLAS_STATUS_SUCCESS) throw SystemError(std::string(what), where);
}

}  // namespace lsd::backends::cuda
