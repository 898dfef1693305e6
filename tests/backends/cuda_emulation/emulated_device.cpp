// SPDX-License-Identifier: Apache-2.0
#include "emulated_device.h"

#include <ucontext.h>

#include <array>
#include <vector>

#include "lsd/core/error.h"

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulated {
namespace {

constexpr std::size_t kStackBytes = 64 * 1024;
constexpr unsigned kWarp = 32;

// Opens when all its threads that still live have come.
struct Barrier {
  unsigned living = 0, arrived = 0, generation = 0;
  void open_if_all_came() {
    if (arrived < living || arrived == 0) return;
    arrived = 0;
    ++generation;
  }
};

struct Fiber {
  ucontext_t context;
  std::vector<char> stack = std::vector<char>(kStackBytes);
  dim3 thread;
  unsigned index = 0;
  bool done = false;
};

struct Block {
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Barrier> warps;
  std::vector<std::array<std::uint64_t, kWarp>> slots;
  Barrier whole;
  std::vector<std::uint64_t> shared;
  ucontext_t scheduler;
  Fiber* running = nullptr;
  const std::function<void()>* kernel = nullptr;
};

Block& block() {
  static Block one;
  return one;
}

void yield() {
  auto& here = block();
  auto* self = here.running;
  swapcontext(&self->context, &here.scheduler);
}

void wait_at(Barrier& barrier) {
  const auto generation = barrier.generation;
  ++barrier.arrived;
  barrier.open_if_all_came();
  while (barrier.generation == generation) yield();
}

void leave(Barrier& barrier) {
  --barrier.living;
  barrier.open_if_all_came();
}

void fiber_main() {
  auto& here = block();
  (*here.kernel)();
  here.running->done = true;
  leave(here.whole);
  leave(here.warps[here.running->index / kWarp]);
  yield();
}

void prepare(unsigned threads) {
  auto& here = block();
  while (here.fibers.size() < threads) here.fibers.push_back(std::make_unique<Fiber>());
  here.whole = {.living = threads};
  here.warps.assign((threads + kWarp - 1) / kWarp, {});
  here.slots.assign(here.warps.size(), {});
  for (unsigned i = 0; i < threads; ++i) {
    auto& fiber = *here.fibers[i];
    fiber.index = i;
    fiber.thread = dim3(i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y));
    fiber.done = false;
    ++here.warps[i / kWarp].living;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.data();
    fiber.context.uc_stack.ss_size = fiber.stack.size();
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, fiber_main, 0);
  }
}

void run_block(unsigned threads) {
  auto& here = block();
  prepare(threads);
  for (unsigned living = threads, rounds = 0; living > 0; ++rounds) {
    lsd::check(rounds < 10'000'000, "the threads of a block reach their barriers");
    for (unsigned i = 0; i < threads; ++i) {
      auto& fiber = *here.fibers[i];
      if (fiber.done) continue;
      here.running = &fiber;
      threadIdx = fiber.thread;
      swapcontext(&here.scheduler, &fiber.context);
      if (fiber.done) --living;
    }
  }
}

}  // namespace

void launch(const LaunchShape& shape, const std::function<void()>& kernel) {
  auto& here = block();
  const unsigned threads = shape.block.x * shape.block.y * shape.block.z;
  lsd::check(threads > 0 && threads <= 1024 && shape.grid.x > 0 && shape.grid.y > 0 && shape.grid.y <= 65535,
             "a launch has a shape that a GPU takes");
  lsd::check(shape.shared_bytes <= 48 * 1024, "dynamic shared memory beyond 48 KiB has to be asked for");
  here.kernel = &kernel;
  blockDim = shape.block;
  gridDim = shape.grid;
  for (unsigned y = 0; y < shape.grid.y; ++y)
    for (unsigned x = 0; x < shape.grid.x; ++x) {
      blockIdx = dim3(x, y);
      here.shared.assign(shape.shared_bytes / 8 + 1, ~std::uint64_t{0});  // every float a NaN
      run_block(threads);
    }
}

void* dynamic_shared() {
  return block().shared.data();
}
void block_barrier() {
  wait_at(block().whole);
}
void warp_barrier() {
  wait_at(block().warps[block().running->index / kWarp]);
}
std::uint64_t* warp_slots() {
  return block().slots[block().running->index / kWarp].data();
}
int lane() {
  return static_cast<int>(block().running->index % kWarp);
}

}  // namespace emulated
