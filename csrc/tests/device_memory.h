// Memory of a device, for csrc/tests: the host's own where the kernels are emulated.
#pragma once

#include <cstring>
#include <new>
#include <vector>

#if defined(SUPERRES_TESTS_WITH_CUDA)
#include <cuda_runtime.h>
#endif

// A copy of `content` on a device, aligned to 256 bytes and no larger than its content.
class DeviceMemory {
public:
  DeviceMemory(int device, const std::vector<unsigned char> &content) : device_(device), size_(content.size()) {
#if defined(SUPERRES_TESTS_WITH_CUDA)
    if (device_ >= 0) {
      cudaSetDevice(device_);
      if (cudaMalloc(&memory_, size_ + 1) != cudaSuccess)
        throw std::bad_alloc();
      cudaMemcpy(memory_, content.data(), size_, cudaMemcpyHostToDevice);
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

  // Waits for what is queued on the device.
  void read(std::vector<unsigned char> &content) const {
#if defined(SUPERRES_TESTS_WITH_CUDA)
    if (device_ >= 0) {
      if (cudaDeviceSynchronize() != cudaSuccess)
        throw std::bad_alloc();
      cudaMemcpy(content.data(), memory_, size_, cudaMemcpyDeviceToHost);
      return;
    }
#endif
    if (size_ != 0)
      std::memcpy(content.data(), memory_, size_);
  }

private:
  int device_;
  std::size_t size_;
  void *memory_ = nullptr;
};
