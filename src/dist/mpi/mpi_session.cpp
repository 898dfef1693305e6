// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <exception>

#include <fmt/format.h>

#include "lsd/core/error.h"
#include "lsd/dist/host_communicator.h"
#include "mpi_check_internal.h"

namespace lsd::dist {

void check_mpi(int code, std::string_view what) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING + 1] = {};
  int length = 0;
  if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) length = 0;
  throw PeerLostError(fmt::format("MPI failed in {}: {} (code {})", what,
                                  std::string_view(text, static_cast<std::size_t>(length)), code));
}

namespace {

// What the launcher says the number of ranks is; 0 when it does not say.
int promised_ranks() {
  for (const char* variable : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"})
    if (const char* text = std::getenv(variable)) return std::atoi(text);
  return 0;
}

}  // namespace

MpiSession::MpiSession(int& argc, char**& argv) {
  int provided = MPI_THREAD_SINGLE;
  check_mpi(MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided), "MPI_Init_thread");
  check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  if (provided < MPI_THREAD_MULTIPLE)
    throw SystemError(
        fmt::format("this MPI library offers thread level {} and gradients need MPI_THREAD_MULTIPLE ({}), since "
                    "they are summed on a thread of their own; use an MPI built with thread support",
                    provided, MPI_THREAD_MULTIPLE));
  int size = 0;
  check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &size), "MPI_Comm_size");
  if (const int promised = promised_ranks(); promised > 1 && size == 1)
    throw SystemError(
        fmt::format("the launcher started {} processes but MPI connects only 1, so each would do the whole work by "
                    "itself; under Slurm use srun --mpi=pmix (or mpirun), and the mpirun of the MPI library that "
                    "this program was built with",
                    promised));
}

MpiSession::~MpiSession() {
  // MPI_Finalize waits for the other ranks, which may be waiting for this one: after an error run_app aborts instead.
  if (std::uncaught_exceptions() == 0) MPI_Finalize();
}

}  // namespace lsd::dist
