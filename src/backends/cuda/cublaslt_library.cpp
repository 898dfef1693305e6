// SPDX-License-Identifier: Apache-2.0
#include "cublaslt_library_internal.h"

#include <dlfcn.h>

#include <string>

#include "lsd/core/error.h"

namespace lsd::backends::cuda {
namespace {

// As the dynamic linker finds it, where the toolkit of the build has it, or where toolkits usually stand.
void* open_library() {
  const std::string name = "libcublasLt.so." + std::to_string(CUBLAS_VER_MAJOR);
  std::string reasons;
  for (const std::string folder : {"", LSD_CUDA_LIBRARIES "/", "/usr/local/cuda/lib64/"}) {
    if (void* library = ::dlopen((folder + name).c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
    const char* reason = ::dlerror();
    reasons += (reasons.empty() ? "" : "; ") + std::string(reason != nullptr ? reason : "no reason given");
  }
  throw SystemError("the CUDA backend needs " + name + ", which could not be loaded (" + reasons +
                    "); install cuBLAS of CUDA " + std::to_string(CUBLAS_VER_MAJOR) +
                    " or add its folder to LD_LIBRARY_PATH");
}

template <class Function>
void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
  if (function == nullptr)
    throw SystemError(std::string("this libcublasLt has no ") + name + "; install a newer cuBLAS");
}

CublasLt load() {
  void* library = open_library();
  CublasLt out{};
  find(library, "cublasLtCreate", out.create);
  find(library, "cublasLtDestroy", out.destroy);
  find(library, "cublasLtGetVersion", out.version);
  find(library, "cublasLtGetStatusString", out.status_text);
  find(library, "cublasLtMatmul", out.matmul);
  find(library, "cublasLtMatmulAlgoGetHeuristic", out.heuristic);
  find(library, "cublasLtMatmulDescCreate", out.desc_create);
  find(library, "cublasLtMatmulDescDestroy", out.desc_destroy);
  find(library, "cublasLtMatmulDescSetAttribute", out.desc_set);
  find(library, "cublasLtMatrixLayoutCreate", out.layout_create);
  find(library, "cublasLtMatrixLayoutDestroy", out.layout_destroy);
  find(library, "cublasLtMatmulPreferenceCreate", out.preference_create);
  find(library, "cublasLtMatmulPreferenceDestroy", out.preference_destroy);
  find(library, "cublasLtMatmulPreferenceSetAttribute", out.preference_set);
  return out;
}

}  // namespace

const CublasLt& cublaslt() {
  static const CublasLt library = load();
  return library;
}

void check_cublas(cublasStatus_t status, std::string_view what, std::source_location where) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw SystemError(std::string(what) + ": cuBLASLt says " + cublaslt().status_text(status), where);
}

}  // namespace lsd::backends::cuda
