// SPDX-License-Identifier: Apache-2.0
// The NCCL collectives without a GPU. This program brings its own NCCL, which adds in host memory once all ranks
// (threads) have come, and the few functions of the CUDA runtime that order streams: an event has happened when the
// collective before it has ended, and a stream that waits for it makes its thread wait.
#include <cuda_runtime_api.h>
#include <gmock/gmock.h>

#include <atomic>
#include <map>
#include <mutex>

#include "dist/collective_checks.h"
#include "dist/nccl/nccl_library_internal.h"
#include "lsd/backends/cuda_device.h"

namespace {

// One collective of all ranks: each brings its input, how its result follows from all inputs, and where that goes.
struct Operation {
  using Result = std::function<std::vector<float>(const std::vector<const float*>&)>;
  struct Part {
    Result result;
    float* to = nullptr;
  };
  std::atomic<bool> done{false};
  std::size_t arrived = 0;
  std::vector<const float*> from;
  std::vector<Part> parts;
};

struct Communicator {
  int rank = 0, size = 1;
  std::atomic<int> polls{0};  // how often it will still say that it is in progress
  std::size_t operations = 0;
};

struct Queue {  // what a stream did last, and what an event comes after
  std::shared_ptr<Operation> last;
};

std::mutex hub_mutex;
std::map<std::size_t, std::shared_ptr<Operation>> hub;
std::atomic<int> num_aborts{0}, async_error{ncclSuccess};

void reset() {
  hub.clear();
  num_aborts = 0;
  async_error = ncclSuccess;
}

Communicator& state_of(ncclComm_t comm) {
  return *reinterpret_cast<Communicator*>(comm);
}

ncclResult_t join(ncclComm_t handle, const void* from, void* to, cudaStream_t stream, Operation::Result result) {
  auto& comm = state_of(handle);
  comm.polls = 2;  // as if connections were being made
  const std::lock_guard lock(hub_mutex);
  auto& operation = hub[comm.operations++];
  if (!operation) operation = std::make_shared<Operation>();
  operation->from.resize(static_cast<std::size_t>(comm.size));
  operation->parts.resize(static_cast<std::size_t>(comm.size));
  operation->from[static_cast<std::size_t>(comm.rank)] = static_cast<const float*>(from);
  operation->parts[static_cast<std::size_t>(comm.rank)] = {std::move(result), static_cast<float*>(to)};
  reinterpret_cast<Queue*>(stream)->last = operation;
  if (++operation->arrived < operation->parts.size()) return ncclInProgress;
  std::vector<std::vector<float>> results;  // of all, before any is written: operations may be in place
  for (const auto& part : operation->parts) results.push_back(part.result(operation->from));
  for (std::size_t r = 0; r < results.size(); ++r)
    std::copy(results[r].begin(), results[r].end(), operation->parts[r].to);
  operation->done = true;
  return ncclInProgress;
}

Operation::Result sum_of(std::size_t first, std::size_t count) {
  return [=](const std::vector<const float*>& from) {
    std::vector<float> total(from[0] + first, from[0] + first + count);
    for (std::size_t r = 1; r < from.size(); ++r)
      for (std::size_t i = 0; i < count; ++i) total[i] += from[r][first + i];
    return total;
  };
}

lsd::dist::NcclLibrary make_library() {
  lsd::dist::NcclLibrary out;
  out.version = NCCL_VERSION_CODE;
  out.get_unique_id = [](ncclUniqueId* id) {
    std::fill(std::begin(id->internal), std::end(id->internal), 'x');
    return ncclSuccess;
  };
  out.comm_init_rank_config = [](ncclComm_t* comm, int size, ncclUniqueId id, int rank, ncclConfig_t* config) {
    if (id.internal[NCCL_UNIQUE_ID_BYTES - 1] != 'x' || config->blocking != 0) return ncclInvalidArgument;
    auto* made = new Communicator;
    made->rank = rank;
    made->size = size;
    made->polls = 3;
    *comm = reinterpret_cast<ncclComm_t>(made);
    return ncclInProgress;
  };
  out.comm_get_async_error = [](ncclComm_t comm, ncclResult_t* status) {
    const bool busy = state_of(comm).polls > 0 && state_of(comm).polls-- > 0;
    *status = busy ? ncclInProgress : static_cast<ncclResult_t>(async_error.load());
    return ncclSuccess;
  };
  out.comm_finalize = [](ncclComm_t) { return ncclSuccess; };
  out.comm_destroy = [](ncclComm_t comm) {
    delete &state_of(comm);
    return ncclSuccess;
  };
  out.comm_abort = [](ncclComm_t comm) {
    ++num_aborts;
    delete &state_of(comm);
    const std::lock_guard lock(hub_mutex);
    for (auto& [number, operation] : hub) operation->done = true;  // what runs on the device ends
    return ncclSuccess;
  };
  out.get_error_string = [](ncclResult_t status) {
    return status == ncclRemoteError ? "remote process exited" : "another error";
  };
  out.get_last_error = [](ncclComm_t) { return "connection closed by peer"; };
  out.all_reduce = [](const void* from, void* to, std::size_t count, ncclDataType_t, ncclRedOp_t, ncclComm_t comm,
                      cudaStream_t stream) { return join(comm, from, to, stream, sum_of(0, count)); };
  out.reduce_scatter = [](const void* from, void* to, std::size_t count, ncclDataType_t, ncclRedOp_t, ncclComm_t comm,
                          cudaStream_t stream) {
    return join(comm, from, to, stream, sum_of(static_cast<std::size_t>(state_of(comm).rank) * count, count));
  };
  out.all_gather = [](const void* from, void* to, std::size_t count, ncclDataType_t, ncclComm_t comm,
                      cudaStream_t stream) {
    return join(comm, from, to, stream, [count](const std::vector<const float*>& all) {
      std::vector<float> values;
      for (const float* slice : all) values.insert(values.end(), slice, slice + count);
      return values;
    });
  };
  out.broadcast = [](const void* from, void* to, std::size_t count, ncclDataType_t, int root, ncclComm_t comm,
                     cudaStream_t stream) {
    return join(comm, from, to, stream, [count, root](const std::vector<const float*>& all) {
      const float* values = all[static_cast<std::size_t>(root)];
      return std::vector<float>(values, values + count);
    });
  };
  return out;
}

Queue* queue_of(void* handle) {
  return reinterpret_cast<Queue*>(handle);
}

}  // namespace

extern "C" {
cudaError_t cudaSetDevice(int) {
  return cudaSuccess;
}
const char* cudaGetErrorString(cudaError_t) {
  return "device error";
}
const char* cudaGetErrorName(cudaError_t) {
  return "cudaErrorOfTest";
}
cudaError_t cudaGetLastError() {
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = reinterpret_cast<cudaEvent_t>(new Queue);
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete queue_of(event);
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const std::lock_guard lock(hub_mutex);
  queue_of(event)->last = queue_of(stream)->last;
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const std::lock_guard lock(hub_mutex);
  const auto& last = queue_of(event)->last;
  return last == nullptr || last->done ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = reinterpret_cast<cudaStream_t>(new Queue);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete queue_of(stream);
  return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t) {
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t event, unsigned) {
  while (cudaEventQuery(event) == cudaErrorNotReady) std::this_thread::sleep_for(std::chrono::microseconds(50));
  return cudaSuccess;
}
}

namespace lsd {

namespace backends {
CudaDevice cuda_device_of(Backend& backend) {
  static thread_local Queue ops;  // nothing is ever queued there
  if (backend.device() != Device::cuda) return {};
  return {.stream = &ops, .device = 0, .uuid = "GPU-1b"};
}
}  // namespace backends

namespace dist {

const NcclLibrary& nccl_library() {
  static const NcclLibrary library = make_library();
  return library;
}
std::string text_of_nccl_version(int version) {
  return std::to_string(version);
}

namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Runs `body` once per rank with NCCL collectives; gives what each threw.
std::vector<std::string> on_ranks(int size, std::chrono::milliseconds deadline,
                                  const std::function<void(TensorCollectives&, int rank, FakeBackend&)>& body) {
  reset();
  auto ranks = make_thread_communicators(size);
  std::vector<std::string> errors(static_cast<std::size_t>(size));
  std::vector<std::thread> threads;
  for (auto& rank : ranks)
    threads.emplace_back([&] {
      try {
        FakeBackend backend(Device::cuda);
        const auto collectives = make_nccl_collectives(backend, rank->duplicate(), {.deadline = deadline});
        body(*collectives, rank->rank(), backend);
      } catch (const Error& error) {
        errors[static_cast<std::size_t>(rank->rank())] = error.what();
      }
    });
  for (auto& thread : threads) thread.join();
  return errors;
}

TEST(NcclCollectives, KeepTheContract) {
  for (const int size : {1, 2, 4})
    EXPECT_THAT(on_ranks(size, std::chrono::minutes(1),
                         [size](TensorCollectives& collectives, int rank, FakeBackend& backend) {
                           EXPECT_EQ(collectives.name(), "nccl");
                           for (int again = 0; again < 3; ++again)
                             check_tensor_collectives(collectives, rank, size, backend);
                           collectives.throw_if_failed();
                           EXPECT_EQ(backend.uploads + backend.downloads, 0);
                         }),
                Each(IsEmpty()));
  EXPECT_EQ(num_aborts, 0);
}

TEST(NcclCollectives, GiveUpOnARankThatDoesNotCome) {
  const auto errors = on_ranks(2, std::chrono::milliseconds(50), [](TensorCollectives& collectives, int rank, auto&) {
    if (rank == 1) return;
    std::vector<float> values(8);
    collectives.wait(collectives.all_reduce_sum(TensorView(values.data(), DType::float32, {8}, Device::cuda)));
    collectives.throw_if_failed();
  });
  EXPECT_THAT(errors[0], AllOf(HasSubstr("rank 0 of 2"), HasSubstr("tensor collective 1 (all_reduce_sum of 8 values)"),
                               HasSubstr("deadline of 0.05 s")));
  EXPECT_EQ(num_aborts, 1);
}

TEST(NcclCollectives, TellWhatNcclReports) {
  const auto errors = on_ranks(2, std::chrono::hours(1), [](TensorCollectives& collectives, int rank, auto&) {
    if (rank == 1) return;
    std::vector<float> values(8);
    const auto ticket = collectives.broadcast(TensorView(values.data(), DType::float32, {8}, Device::cuda), 1);
    async_error = ncclRemoteError;
    collectives.wait(ticket);
    collectives.throw_if_failed();
  });
  EXPECT_THAT(errors[0], AllOf(HasSubstr("rank 0 of 2"), HasSubstr("broadcast of 8 values"),
                               HasSubstr("remote process exited: connection closed by peer")));
}

TEST(NcclCollectives, NeedTensorsOnGpus) {
  const auto ranks = make_single_communicator();
  FakeBackend backend(Device::host);
  EXPECT_THROW(make_nccl_collectives(backend, ranks->duplicate(), {}), Error);
}

}  // namespace
}  // namespace dist
}  // namespace lsd
