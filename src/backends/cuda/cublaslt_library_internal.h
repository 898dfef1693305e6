// SPDX-License-Identifier: Apache-2.0
#pragma once
// cuBLASLt, loaded when a CUDA backend is made: programs start where the toolkit's libraries are not installed.

#include <cublasLt.h>

#include <source_location>
#include <string_view>

namespace lsd::backends::cuda {

struct CublasLt {
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtDestroy) destroy;
  decltype(&cublasLtGetVersion) version;
  decltype(&cublasLtGetStatusString) status_text;
  decltype(&cublasLtMatmul) matmul;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic;
  decltype(&cublasLtMatmulDescCreate) desc_create;
  decltype(&cublasLtMatmulDescDestroy) desc_destroy;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set;
  decltype(&cublasLtMatrixLayoutCreate) layout_create;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set;
};

// Loaded once per process. Throws SystemError naming the file that is missing.
const CublasLt& cublaslt();
// Throws SystemError "<what>: <reason>" unless the status is success.
void check_cublas(cublasStatus_t status, std::string_view what,
                  std::source_location where = std::source_location::current());

}  // namespace lsd::backends::cuda
