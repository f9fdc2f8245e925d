// The kernels on a CUDA device.
#include <type_traits>

#include "cuda_launch.h"

namespace superres {
namespace {

using kernels::Block;
using kernels::ConvolutionArguments;
using kernels::kThreads;
using kernels::OutputArguments;

template <int tiles>
__global__ void __launch_bounds__(kThreads, 1) convolution_kernel(const __grid_constant__ ConvolutionArguments arguments) {
  extern __shared__ __align__(128) unsigned char shared[];
  Block block(shared);
  kernels::convolve<tiles>(block, arguments);
}

__global__ void __launch_bounds__(kThreads) output_kernel(const __grid_constant__ OutputArguments arguments) {
  Block block(nullptr);
  kernels::convolve_output(block, arguments);
}

// Makes a device current for the calling thread, and the former one again afterwards.
class Current {
public:
  explicit Current(int device) {
    require(cudaGetDevice(&former_), "cannot ask for the current device");
    if (former_ != device)
      require(cudaSetDevice(device), "cannot make the device current");
    changed_ = former_ != device;
  }
  ~Current() {
    if (changed_)
      cudaSetDevice(former_);
  }
  Current(const Current &) = delete;
  Current &operator=(const Current &) = delete;

private:
  int former_ = 0;
  bool changed_ = false;
};

// call(kernel for that many tiles)
template <class Call> void with_kernel(int tiles, const Call &call) {
  switch (tiles) {
  case 1:
    return call(convolution_kernel<1>);
  case 2:
    return call(convolution_kernel<2>);
  case 4:
    return call(convolution_kernel<4>);
  case 5:
    return call(convolution_kernel<5>);
  case 6:
    return call(convolution_kernel<6>);
  case 7:
    return call(convolution_kernel<7>);
  case 8:
    return call(convolution_kernel<8>);
  case 10:
    return call(convolution_kernel<10>);
  default:
    throw Failure{SR_INVALID_ARGUMENT, "no kernel for " + std::to_string(tiles) + " tiles"};
  }
}

struct Destroy {
  void operator()(cudaStream_t stream) const { cudaStreamDestroy(stream); }
  void operator()(cudaGraph_t graph) const { cudaGraphDestroy(graph); }
  void operator()(cudaGraphExec_t graph) const { cudaGraphExecDestroy(graph); }
};
template <class Handle> using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Destroy>;

class CudaGraph final : public Captured {
public:
  CudaGraph(int device, const std::function<void(void *stream)> &queue) : device_(device) {
    const Current current(device);
    cudaStream_t made = nullptr;
    require(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking), "no stream to capture on");
    const Owned<cudaStream_t> stream(made);
    // Of this thread alone, so that others may allocate meanwhile.
    require(cudaStreamBeginCapture(made, cudaStreamCaptureModeThreadLocal), "a forward cannot be captured");
    cudaGraph_t captured = nullptr;
    try {
      queue(made);
    } catch (...) {
      cudaStreamEndCapture(made, &captured);
      cudaGetLastError(); // of a capture that was given up
      const Owned<cudaGraph_t> dropped(captured);
      throw;
    }
    require(cudaStreamEndCapture(made, &captured), "a forward was not captured");
    const Owned<cudaGraph_t> graph(captured);
    cudaGraphExec_t ready = nullptr;
    require(cudaGraphInstantiateWithFlags(&ready, captured, 0), "a captured forward cannot be made ready");
    ready_.reset(ready);
  }

  void launch(void *stream) const override {
    const Current current(device_);
    require(cudaGraphLaunch(ready_.get(), static_cast<cudaStream_t>(stream)), "a captured forward was not launched");
  }

private:
  int device_;
  Owned<cudaGraphExec_t> ready_;
};

class CudaBackend final : public Backend {
public:
  explicit CudaBackend(int device) : device_(device) {
    const Current current(device);
    cudaDeviceProp properties{};
    require(cudaGetDeviceProperties(&properties, device), "cannot read the device's properties");
    name_ = std::string(properties.name) + ", sm_" + std::to_string(properties.major) + std::to_string(properties.minor);
    if (properties.major < 8)
      throw Failure{SR_NOT_SUPPORTED, "device " + name_ + " is older than the kernels; expected sm_80 or newer"};
    cudaFuncAttributes attributes{};
    if (cudaFuncGetAttributes(&attributes, output_kernel) != cudaSuccess) {
      cudaGetLastError(); // the failed question must not be found by the caller's next check
      throw Failure{SR_NOT_SUPPORTED, "device " + name_ + " is none of the architectures that this build holds (" +
                                          cuda_architectures() + "); build with SUPERRES_CUDA_ARCHITECTURES for it"};
    }
    for (const int tiles : kTileCounts)
      with_kernel(tiles, [&](auto *kernel) {
        const int bytes = kernels::shared_bytes(tiles, kernels::kMaxGroups);
        require(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
                "cannot have the kernels' shared memory");
      });
    shared_limit_ = static_cast<int>(properties.sharedMemPerBlockOptin);
    prepare_fused_kernels(shared_limit_);
  }

  std::string name() const override { return name_; }

  std::shared_ptr<const void> upload(const void *bytes, std::size_t count) const override {
    const Current current(device_);
    void *memory = nullptr;
    require(cudaMalloc(&memory, count), "cannot hold the weights");
    const int device = device_;
    std::shared_ptr<const void> held(memory, [device](const void *released) {
      int former = 0;
      cudaGetDevice(&former);
      cudaSetDevice(device);
      cudaFree(const_cast<void *>(released));
      cudaSetDevice(former);
    });
    require(cudaMemcpy(memory, bytes, count, cudaMemcpyHostToDevice), "cannot copy the weights");
    // The copy of pageable memory may return before it has arrived, and streams that do not block on the default one
    // would read too early.
    require(cudaStreamSynchronize(nullptr), "the weights did not arrive");
    return held;
  }

  void convolve(const ConvolutionArguments &arguments, int tiles, void *stream) const override {
    const Current current(device_);
    const auto blocks = convolution_blocks(arguments);
    const auto bytes = static_cast<std::size_t>(kernels::shared_bytes(tiles, arguments.chunk_groups));
    with_kernel(tiles, [&](auto *kernel) {
      launch(kernel, blocks, bytes, arguments, stream, "a convolution was not launched");
    });
  }

  void output(const OutputArguments &arguments, void *stream) const override {
    const Current current(device_);
    launch(output_kernel, output_blocks(arguments), 0, arguments, stream, "the output convolution was not launched");
  }

  void residual_block(const kernels::BlockArguments &arguments, const BlockChoice &choice,
                      void *stream) const override {
    const Current current(device_);
    launch_residual_block(arguments, choice, stream);
  }

  void folded(const kernels::FoldedArguments &arguments, int tiles, void *stream) const override {
    const Current current(device_);
    launch_folded(arguments, tiles, stream);
  }

  void border(const kernels::BorderArguments &arguments, void *stream) const override {
    const Current current(device_);
    launch_border(arguments, stream);
  }

  std::unique_ptr<Captured> capture(const std::function<void(void *stream)> &queue) const override {
    return std::make_unique<CudaGraph>(device_, queue);
  }

  int shared_limit() const override { return shared_limit_; }

private:
  int device_, shared_limit_ = 0;
  std::string name_;
};

} // namespace

int cuda_device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();
    return 0;
  }
  return count;
}

std::unique_ptr<Backend> cuda_backend(int device) {
  if (const int count = cuda_device_count(); device >= count)
    throw Failure{SR_NOT_SUPPORTED,
                  "CUDA device " + std::to_string(device) + " is not here: there are " + std::to_string(count)};
  return std::make_unique<CudaBackend>(device);
}

std::string cuda_architectures() { return SUPERRES_CUDA_ARCHITECTURES; }

} // namespace superres
