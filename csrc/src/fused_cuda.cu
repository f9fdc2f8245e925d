// The kernels that do more than a layer, on a CUDA device.
#include "cuda_launch.h"

namespace superres {
namespace {

using kernels::Block;
using kernels::kThreads;

template <bool from_frames, int middle_tiles, int out_tiles>
__global__ void __launch_bounds__(kThreads, 1) block_kernel(const __grid_constant__ kernels::BlockArguments arguments) {
  extern __shared__ __align__(128) unsigned char shared[];
  Block block(shared);
  kernels::compute_block<from_frames, middle_tiles, out_tiles>(block, arguments);
}

template <int tiles>
__global__ void __launch_bounds__(kThreads, 2) folded_kernel(const __grid_constant__ kernels::FoldedArguments arguments) {
  extern __shared__ __align__(128) unsigned char shared[];
  Block block(shared);
  kernels::convolve_folded<tiles>(block, arguments);
}

__global__ void __launch_bounds__(kThreads) border_kernel(const __grid_constant__ kernels::BorderArguments arguments) {
  Block block(nullptr);
  kernels::compute_border(block, arguments);
}

// call(kernel of that shape)
template <class Call> void with_block_kernel(const BlockShape &shape, const Call &call) {
#define SR_TRY(frames, middle, out)                                                                                    \
  if (shape.from_frames == frames && shape.middle_tiles == middle && shape.out_tiles == out)                           \
    return call(block_kernel<frames, middle, out>);
  SR_BLOCK_KERNELS(SR_TRY)
#undef SR_TRY
  throw Failure{SR_INVALID_ARGUMENT, "no kernel for a residual block of " + std::to_string(shape.middle_tiles) +
                                         " and " + std::to_string(shape.out_tiles) + " tiles"};
}

template <class Call> void with_folded_kernel(int tiles, const Call &call) {
#define SR_TRY(compiled)                                                                                               \
  if (tiles == compiled)                                                                                               \
    return call(folded_kernel<compiled>);
  SR_FOLDED_KERNELS(SR_TRY)
#undef SR_TRY
  throw Failure{SR_INVALID_ARGUMENT, "no folded tail of " + std::to_string(tiles) + " tiles"};
}

} // namespace

void prepare_fused_kernels(int shared_limit) {
  // More than 48 KB of shared memory must be asked for.  Each question also loads its kernel, which would otherwise happen
  // at the first launch: that may wait for the device, and fail where a stream is captured.
  cudaFuncAttributes attributes{};
  require(cudaFuncGetAttributes(&attributes, border_kernel), "cannot load the border's kernel");
  const auto allow = [&](const void *kernel) {
    require(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_limit),
            "cannot have the fused kernels' shared memory");
  };
#define SR_ALLOW(frames, middle, out) allow(reinterpret_cast<const void *>(block_kernel<frames, middle, out>));
  SR_BLOCK_KERNELS(SR_ALLOW)
#undef SR_ALLOW
#define SR_ALLOW(tiles) allow(reinterpret_cast<const void *>(folded_kernel<tiles>));
  SR_FOLDED_KERNELS(SR_ALLOW)
#undef SR_ALLOW
}

void launch_residual_block(const kernels::BlockArguments &arguments, const BlockChoice &choice, void *stream) {
  const auto bytes = static_cast<std::size_t>(choice.shared_bytes);
  with_block_kernel(choice.shape, [&](auto *kernel) {
    launch(kernel, residual_blocks(arguments), bytes, arguments, stream, "a residual block was not launched");
  });
}

void launch_folded(const kernels::FoldedArguments &arguments, int tiles, void *stream) {
  const auto bytes = static_cast<std::size_t>(kernels::folded_shared_bytes(tiles, arguments.chunk_groups));
  with_folded_kernel(tiles, [&](auto *kernel) {
    launch(kernel, folded_blocks(arguments), bytes, arguments, stream, "the folded tail was not launched");
  });
}

void launch_border(const kernels::BorderArguments &arguments, void *stream) {
  launch(border_kernel, border_blocks(arguments), 0, arguments, stream, "the border was not launched");
}

} // namespace superres
