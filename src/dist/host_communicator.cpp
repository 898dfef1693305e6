// SPDX-License-Identifier: Apache-2.0
#include "lsd/dist/host_communicator.h"

#include <array>
#include <cstdlib>

namespace lsd::dist {

std::string HostCommunicator::broadcast_text(std::string text, int root) {
  std::array<std::int64_t, 1> length{static_cast<std::int64_t>(text.size())};
  broadcast(std::as_writable_bytes(std::span(length)), root);
  text.resize(static_cast<std::size_t>(length[0]));
  broadcast(std::as_writable_bytes(std::span(text)), root);
  return text;
}

namespace {

int number_in(const char* variable) {
  const char* text = std::getenv(variable);
  return text == nullptr ? 0 : std::atoi(text);
}

}  // namespace

bool launched_by_mpi() {
  if (std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr) return number_in("OMPI_COMM_WORLD_SIZE") > 1;
  if (std::getenv("PMI_SIZE") != nullptr) return number_in("PMI_SIZE") > 1;
  // SLURM_NTASKS also stands in the environment of a batch script, which is no rank; srun alone sets the step's tasks.
  if (std::getenv("SLURM_STEP_NUM_TASKS") != nullptr) return number_in("SLURM_STEP_NUM_TASKS") > 1;
  return std::getenv("PMIX_RANK") != nullptr;
}

}  // namespace lsd::dist
