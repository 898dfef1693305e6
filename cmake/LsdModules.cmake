# SPDX-License-Identifier: Apache-2.0
# lsd_add_module(nn DEPENDS tensor core [LINK target ...] [SOURCES ...]): static library lsd_nn from every .cpp below the
# calling folder. DEPENDS names the modules it may include; tests/lint/check_layers.py holds the whole table.
function(lsd_add_module name)
  cmake_parse_arguments(arg "" "" "DEPENDS;LINK;SOURCES" ${ARGN})
  if(NOT arg_SOURCES)
    file(GLOB_RECURSE arg_SOURCES CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.cpp")
  endif()
  if(NOT arg_SOURCES)
    add_library(lsd_${name} INTERFACE)
    return()
  endif()
  add_library(lsd_${name} STATIC ${arg_SOURCES})
  target_include_directories(lsd_${name} PUBLIC "${PROJECT_SOURCE_DIR}/include" PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
  target_link_libraries(lsd_${name} PRIVATE lsd_compile_options)
  foreach(dependency IN LISTS arg_DEPENDS)
    target_link_libraries(lsd_${name} PUBLIC lsd_${dependency})
  endforeach()
  target_link_libraries(lsd_${name} PRIVATE ${arg_LINK})
endfunction()

# What the thread sanitizer looks at: tests labelled tsan. A build with it makes only these.
add_custom_target(lsd_tsan_tests)

# lsd_add_tests(nn LINK lsd_nn ... [LABELS ...]): one program from all *_test.cpp of the calling folder, each test a
# CTest entry of its own. Programs that need several ranks go through lsd_add_rank_test instead (name *_ranks.cpp).
function(lsd_add_tests name)
  cmake_parse_arguments(arg "" "TIMEOUT" "LINK;LABELS" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*_test.cpp")
  if(NOT sources)
    return()
  endif()
  add_executable(lsd_${name}_tests ${sources})
  target_link_libraries(lsd_${name}_tests PRIVATE lsd_compile_options lsd_test_support ${arg_LINK} GTest::gmock GTest::gtest_main)
  target_include_directories(lsd_${name}_tests PRIVATE "${PROJECT_SOURCE_DIR}/tests")
  if(LSD_SANITIZE)
    target_compile_options(lsd_${name}_tests PRIVATE -O1)  # instrumented at -O2 they take most of the build
  endif()
  gtest_discover_tests(lsd_${name}_tests TEST_PREFIX "${name}." DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT ${arg_TIMEOUT})
  if("tsan" IN_LIST arg_LABELS)
    add_dependencies(lsd_tsan_tests lsd_${name}_tests)
  endif()
  # gtest_discover_tests flattens lists, so a test's several labels are set once the tests are known.
  set(labels_file "${CMAKE_CURRENT_BINARY_DIR}/lsd_${name}_labels.cmake")
  file(WRITE "${labels_file}" "set_tests_properties(\${lsd_${name}_tests_TESTS} PROPERTIES LABELS \"unit;${arg_LABELS}\")\n")
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES "${labels_file}")
endfunction()

# What mpirun needs on one machine.
file(STRINGS "${CMAKE_CURRENT_LIST_DIR}/mpi.env" LSD_MPI_ENVIRONMENT REGEX "^[A-Z]")
if(LSD_SANITIZE MATCHES address)
  # Open MPI keeps memory until the end and unloads its plugins before, so that leaks cannot be told apart by library.
  # The tests that run ranks as threads look for ours.
  list(APPEND LSD_MPI_ENVIRONMENT "ASAN_OPTIONS=detect_leaks=0")
endif()

# lsd_add_rank_test(train_ranks.cpp RANKS 1 2 4 LINK ...): a plain GoogleTest program started under mpirun.
function(lsd_add_rank_test source)
  cmake_parse_arguments(arg "" "TIMEOUT" "LINK;RANKS;LABELS" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 180)
  endif()
  get_filename_component(name "${source}" NAME_WE)
  add_executable(lsd_${name} ${source})
  target_link_libraries(lsd_${name} PRIVATE lsd_compile_options lsd_test_support ${arg_LINK} GTest::gmock GTest::gtest)
  target_include_directories(lsd_${name} PRIVATE "${PROJECT_SOURCE_DIR}/tests")
  foreach(ranks IN LISTS arg_RANKS)
    add_test(NAME ranks.${name}.${ranks} COMMAND ${MPIEXEC_EXECUTABLE} --oversubscribe -n ${ranks} $<TARGET_FILE:lsd_${name}>)
    set_tests_properties(ranks.${name}.${ranks} PROPERTIES TIMEOUT ${arg_TIMEOUT} LABELS "ranks;${arg_LABELS}" PROCESSORS ${ranks}
      ENVIRONMENT "${LSD_MPI_ENVIRONMENT};OMP_NUM_THREADS=1")
  endforeach()
endfunction()
