// The words that the kernels are written in.  Each has two forms: CUDA (shim_cuda.h), where a block is 256 threads and
// PerLane and PerWarp are a thread's own registers, and the host (shim_host.h), where one thread walks through the block
// warp by warp and lane by lane, and PerLane and PerWarp are arrays.
//
//   block.for_each_thread(f), block.for_each_warp(f)   f(thread 0..255), f(warp 0..7)
//   for_each_lane(f)                                   f(lane 0..31), within for_each_warp
//   block.sync()                                       every thread has got here; between two syncs no thread may read
//                                                      shared memory that another one writes
//   block.copy_async16(to, from, valid)                16 bytes, global to shared, zeros where not valid; arrives by a
//   block.commit(), block.wait<N>()                    wait that leaves at most the N newest commits open, plus a sync
//   load_matrices(a, address), load_pair(b, from)      fragments of mma.m16n8k16: A by ldmatrix, B as packed
//   multiply_add(c, a, b)                              C += A B, float16 products and float32 sums
//
// Nothing outside the two forms knows which one it is compiled for.
#pragma once

#include <cstdint>

namespace superres::kernels {

constexpr int kLanes = 32, kWarps = 8, kThreads = kLanes * kWarps;

struct A4 {
  std::uint32_t r[4];
};
struct B2 {
  std::uint32_t r[2];
};
struct C4 {
  float r[4];
};

} // namespace superres::kernels

#if defined(__CUDACC__)
#include "shim_cuda.h"
#else
#include "shim_host.h"
#endif
