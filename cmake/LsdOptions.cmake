# SPDX-License-Identifier: Apache-2.0
# Language level, warnings and sanitizers, carried by one interface target.
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_FLAGS_RELEASE "-O2")  # assert() is not used: promises are checked in every build
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CCACHE_PROGRAM}")
  set(CMAKE_CUDA_COMPILER_LAUNCHER "${CCACHE_PROGRAM}")
endif()

add_library(lsd_compile_options INTERFACE)
target_compile_options(lsd_compile_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wno-missing-field-initializers>)
if(LSD_SANITIZE)
  add_compile_options(-fsanitize=${LSD_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all -g1)
  add_link_options(-fsanitize=${LSD_SANITIZE})
endif()

# CUDA is a language of the project when it is asked for, or when nvcc is found where nothing was said. LSD_CUDA_BUILT
# tells the outcome. Kernels carry machine code for Hopper and compute_80 PTX for everything from Ampere on.
set(LSD_CUDA_BUILT OFF CACHE INTERNAL "the CUDA backend is part of this build" FORCE)
if(LSD_WITH_CUDA AND NOT LSD_SANITIZE)
  find_program(LSD_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin)
  if(LSD_NVCC)
    set(CMAKE_CUDA_COMPILER "${LSD_NVCC}")
    set(CMAKE_CUDA_ARCHITECTURES OFF)
    enable_language(CUDA)
    find_package(CUDAToolkit REQUIRED)
    # CMake 3.25 does not know yet that nvcc speaks C++20.
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
    set(CMAKE_CUDA_FLAGS_RELEASE "-O3")
    set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
    set(LSD_CUDA_BUILT ON CACHE INTERNAL "the CUDA backend is part of this build" FORCE)
  elseif(LSD_WITH_CUDA STREQUAL "AUTO")
    message(STATUS "No nvcc found: this build has the CPU backend alone (-DLSD_WITH_CUDA=ON insists on both)")
  else()
    message(FATAL_ERROR "LSD_WITH_CUDA=${LSD_WITH_CUDA}, but no nvcc was found: load the CUDA toolkit (12.8 or newer), "
      "name it with CUDA_HOME, or configure with -DLSD_WITH_CUDA=OFF")
  endif()
endif()
