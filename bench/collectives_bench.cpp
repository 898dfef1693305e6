// SPDX-License-Identifier: Apache-2.0
// Sums of gradients over ranks through host memory, beside MPI_Allreduce (whose order of terms is its own):
//
//   mpirun -n 2 collectives_bench [MiB per bucket, 64]
#include <fmt/format.h>
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "lsd/backends/make_backend.h"
#include "lsd/dist/host_communicator.h"
#include "lsd/dist/tensor_collectives.h"

namespace {

using namespace lsd;
using Clock = std::chrono::steady_clock;

template <class Body>
double median_seconds(dist::HostCommunicator& ranks, Body&& body) {
  std::vector<double> seconds;
  for (int round = 0; round < 9; ++round) {
    ranks.barrier();
    const auto start = Clock::now();
    body();
    seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  std::nth_element(seconds.begin(), seconds.begin() + 4, seconds.end());
  return seconds[4];
}

}  // namespace

int main(int argc, char** argv) {
  const dist::MpiSession session(argc, argv);
  const auto ranks = dist::make_mpi_communicator();
  const auto backend = backends::make_reference_backend();
  const auto collectives = dist::make_staged_collectives(*backend, ranks->duplicate());
  const auto elements = static_cast<std::int64_t>((argc > 1 ? std::atof(argv[1]) : 64.0) * (1 << 18));
  std::vector<float> values(static_cast<std::size_t>(elements), 1.0F), copy(values.size());
  const TensorView view(values.data(), DType::float32, {elements}, Device::host);
  const double megabytes = static_cast<double>(elements) * 4e-6;
  const auto report = [&](const char* what, double seconds) {
    if (ranks->is_root())
      fmt::print("{:34} {:8.0f} MB/s per rank ({:.2f} ms)\n", what, megabytes / seconds, seconds * 1e3);
  };
  if (ranks->is_root()) fmt::print("{} ranks, {:.0f} MB\n", ranks->size(), megabytes);
  report("copy in memory", median_seconds(*ranks, [&] { std::memcpy(copy.data(), values.data(), values.size() * 4); }));
  report("staged all_reduce_sum, rank order",
         median_seconds(*ranks, [&] { collectives->wait(collectives->all_reduce_sum(view)); }));
  report("MPI_Allreduce in place", median_seconds(*ranks, [&] {
           MPI_Allreduce(MPI_IN_PLACE, values.data(), static_cast<int>(elements), MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
         }));
  const auto barrier = median_seconds(*ranks, [&] { ranks->barrier(); });
  if (ranks->is_root()) fmt::print("barrier {:.1f} us\n", barrier * 1e6);
  return 0;
}
