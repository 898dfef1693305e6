// SPDX-License-Identifier: Apache-2.0
// Rank 0 aborts while the others wait for it: the whole job ends at once with its exit code.
#include "lsd/dist/host_communicator.h"

int main(int argc, char** argv) {
  const lsd::dist::MpiSession session(argc, argv);
  const auto ranks = lsd::dist::make_mpi_communicator();
  if (ranks->rank() == 0) ranks->abort(3);
  ranks->barrier();
  return 0;
}
