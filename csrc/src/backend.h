// Where the kernels of csrc/kernels run: a CUDA device, or the host's emulation of one.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "../kernels/border.h"
#include "../kernels/folded_tail.h"
#include "../kernels/residual_block.h"
#include "network.h"
#include "pack.h"

namespace superres {

// Launches that were put together once, to be queued as one.  What they read and write must be there when they run.
class Captured {
public:
  virtual ~Captured() = default;
  virtual void launch(void *stream) const = 0;
};

// Immutable once made; every function may be called from many threads.  Throws Failure.
class Backend {
public:
  virtual ~Backend() = default;
  virtual std::string name() const = 0;
  // Device memory that holds a copy of `bytes` bytes of the host, aligned to 256; it is there for every stream on return.
  virtual std::shared_ptr<const void> upload(const void *bytes, std::size_t count) const = 0;
  // Queue a kernel.  tiles: one of kTileCounts.  Allocates nothing and does not wait.
  virtual void convolve(const kernels::ConvolutionArguments &arguments, int tiles, void *stream) const = 0;
  virtual void output(const kernels::OutputArguments &arguments, void *stream) const = 0;
  virtual void residual_block(const kernels::BlockArguments &arguments, const BlockChoice &choice,
                              void *stream) const = 0;
  virtual void folded(const kernels::FoldedArguments &arguments, int tiles, void *stream) const = 0;
  virtual void border(const kernels::BorderArguments &arguments, void *stream) const = 0;
  // What queue(stream) puts on the stream that it is given.  Nothing of it runs until it is launched.
  virtual std::unique_ptr<Captured> capture(const std::function<void(void *stream)> &queue) const = 0;
  // Shared memory that one block of threads may have, in bytes.
  virtual int shared_limit() const = 0;
};

// Blocks of a launch; throws Failure where there are more than a launch can have.
std::int64_t convolution_blocks(const kernels::ConvolutionArguments &arguments);
std::int64_t output_blocks(const kernels::OutputArguments &arguments);
std::int64_t residual_blocks(const kernels::BlockArguments &arguments);
std::int64_t folded_blocks(const kernels::FoldedArguments &arguments);
std::int64_t border_blocks(const kernels::BorderArguments &arguments);

int cuda_device_count();
// Throws Failure (SR_NOT_SUPPORTED) where this build or this machine has no such device.
std::unique_ptr<Backend> cuda_backend(int device);
std::unique_ptr<Backend> emulated_backend();

// "80-real 80-virtual": the architectures whose code (real) or PTX (virtual) is inside; empty without CUDA.
std::string cuda_architectures();

} // namespace superres
