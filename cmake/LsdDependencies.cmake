# SPDX-License-Identifier: Apache-2.0
# Everything from outside, found once. MPI and HDF5 are required; CUDA and NCCL are optional.
set(MPI_DETERMINE_LIBRARY_VERSION TRUE)
find_package(MPI REQUIRED COMPONENTS CXX)
find_package(HDF5 REQUIRED COMPONENTS C)
find_package(Boost REQUIRED COMPONENTS program_options)
find_package(fmt REQUIRED)
find_package(Eigen3 REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(dnnl REQUIRED CONFIG)  # oneDNN: matrix products of the CPU backend
find_package(Threads REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(PkgConfig REQUIRED)
find_package(ZLIB REQUIRED)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(ISAL REQUIRED IMPORTED_TARGET libisal)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
# NCCL joins GPUs, so it is of use with the CUDA backend only. Its library is loaded at run time.
set(LSD_NCCL_BUILT OFF)
if(LSD_WITH_NCCL AND LSD_CUDA_BUILT)
  find_path(LSD_NCCL_INCLUDE nccl.h HINTS ENV NCCL_HOME PATHS ${CUDAToolkit_INCLUDE_DIRS} PATH_SUFFIXES include)
  if(LSD_NCCL_INCLUDE)
    set(LSD_NCCL_BUILT ON)
  elseif(NOT LSD_WITH_NCCL STREQUAL "AUTO")
    message(FATAL_ERROR "LSD_WITH_NCCL=${LSD_WITH_NCCL}, but there is no nccl.h: install NCCL (libnccl-dev), name its "
      "folder with NCCL_HOME, or configure with -DLSD_WITH_NCCL=OFF")
  endif()
elseif(LSD_WITH_NCCL AND NOT LSD_WITH_NCCL STREQUAL "AUTO")
  message(FATAL_ERROR "LSD_WITH_NCCL=${LSD_WITH_NCCL} needs the CUDA backend: see LSD_WITH_CUDA")
endif()
if(LSD_BUILD_TESTS)
  find_package(GTest REQUIRED)
  include(GoogleTest)
endif()

string(REGEX MATCH "^[^,\n]*" mpi_library "${MPI_CXX_LIBRARY_VERSION_STRING}")
# What --version and the run folders name.
list(APPEND LSD_LIBRARY_VERSIONS "${mpi_library}" "HDF5 ${HDF5_VERSION}" "oneDNN ${dnnl_VERSION}"
  "Boost ${Boost_VERSION}" "fmt ${fmt_VERSION}" "ISA-L ${ISAL_VERSION}" "zstd ${ZSTD_VERSION}" "xxHash ${XXHASH_VERSION}")
if(LSD_CUDA_BUILT)
  list(APPEND LSD_LIBRARY_VERSIONS "CUDA ${CUDAToolkit_VERSION}")
endif()
