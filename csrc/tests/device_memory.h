// Memory of a device, for csrc/tests: the host's own where the kernels are emulated.
#pragma once

#include <cstring>
#include <new>
#include <string>
#include <vector>

#if defined(SUPERRES_TESTS_WITH_CUDA)
#include <cuda_runtime.h>
#endif

// What a device answers for, in its own words: a kernel's failure shows where its results are fetched.
struct DeviceFailure {
  std::string text;
};

// A copy of `content` on a device, aligned to 256 bytes and no larger than its content.
class DeviceMemory {
public:
  DeviceMemory(int device, const std::vector<unsigned char> &content) : device_(device), size_(content.size()) {
#if defined(SUPERRES_TESTS_WITH_CUDA)
    if (device_ >= 0) {
      require(cudaSetDevice(device_), "the device cannot be used");
      require(cudaMalloc(&memory_, size_ + 1), "no memory for a buffer");
      require(cudaMemcpy(memory_, content.data(), size_, cudaMemcpyHostToDevice), "a buffer was not filled");
      return;
    }
#endif
    memory_ = ::operator new(size_, std::align_val_t{256});
    if (size_ != 0)
      std::memcpy(memory_, content.data(), size_);
  }
  ~DeviceMemory() {
#if defined(SUPERRES_TESTS_WITH_CUDA)
    if (device_ >= 0) {
      cudaFree(memory_);
      return;
    }
#endif
    ::operator delete(memory_, std::align_val_t{256});
  }
  DeviceMemory(const DeviceMemory &) = delete;
  DeviceMemory &operator=(const DeviceMemory &) = delete;

  void *address() const { return memory_; }
  std::size_t size() const { return size_; }

  // Waits for what is queued on the device.
  void write(const std::vector<unsigned char> &content) {
#if defined(SUPERRES_TESTS_WITH_CUDA)
    if (device_ >= 0) {
      require(cudaDeviceSynchronize(), "what was queued failed");
      require(cudaMemcpy(memory_, content.data(), size_, cudaMemcpyHostToDevice), "a buffer was not filled");
      return;
    }
#endif
    if (size_ != 0)
      std::memcpy(memory_, content.data(), size_);
  }

  // Waits for what is queued on the device.
  void read(std::vector<unsigned char> &content) const {
#if defined(SUPERRES_TESTS_WITH_CUDA)
    if (device_ >= 0) {
      require(cudaDeviceSynchronize(), "what was queued failed");
      require(cudaMemcpy(content.data(), memory_, size_, cudaMemcpyDeviceToHost), "a result was not fetched");
      return;
    }
#endif
    if (size_ != 0)
      std::memcpy(content.data(), memory_, size_);
  }

private:
#if defined(SUPERRES_TESTS_WITH_CUDA)
  static void require(cudaError_t error, const char *what) {
    if (error != cudaSuccess)
      throw DeviceFailure{std::string(what) + ": " + cudaGetErrorString(error)};
  }
#endif

  int device_;
  std::size_t size_;
  void *memory_ = nullptr;
};
