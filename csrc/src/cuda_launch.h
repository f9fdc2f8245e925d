// What the files with kernels share: launches that answer for themselves.  For nvcc only.
#pragma once

#include <cuda_runtime.h>

#include <string>

#include "backend.h"

namespace superres {

inline void require(cudaError_t error, const char *what) {
  if (error == cudaSuccess)
    return;
  cudaGetLastError(); // reported here, it must not be found by the caller's next check
  const auto status = error == cudaErrorMemoryAllocation ? SR_OUT_OF_MEMORY : SR_CUDA_ERROR;
  throw Failure{status, std::string(what) + ": " + cudaGetErrorString(error)};
}

// Queue a kernel.  The launch answers for itself, so that somebody else's former failure is not taken for its own.
template <class Arguments>
void launch(void (*kernel)(Arguments), std::int64_t blocks, std::size_t shared_bytes, const Arguments &arguments,
            void *stream, const char *what) {
  cudaLaunchConfig_t how{};
  how.gridDim = dim3(static_cast<unsigned>(blocks));
  how.blockDim = dim3(kernels::kThreads);
  how.dynamicSmemBytes = shared_bytes;
  how.stream = static_cast<cudaStream_t>(stream);
  require(cudaLaunchKernelEx(&how, kernel, arguments), what);
}

// In fused_cuda.cu, for the current device.
void prepare_fused_kernels(int shared_limit); // once, before the first launch
void launch_residual_block(const kernels::BlockArguments &arguments, const BlockChoice &choice, void *stream);
void launch_folded(const kernels::FoldedArguments &arguments, int tiles, void *stream);
void launch_border(const kernels::BorderArguments &arguments, void *stream);

} // namespace superres
