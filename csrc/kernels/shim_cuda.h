// The CUDA form of shim.h.
#pragma once

#include <cuda_fp16.h>

#define SR_CODE __device__ __forceinline__
#define SR_ANYWHERE __host__ __device__
#define SR_UNROLL _Pragma("unroll")

namespace superres::kernels {

// A thread has its own value; the index says whose, for the host form.
template <class T> struct PerLane {
  T own;
  SR_CODE T &operator[](int) { return own; }
  SR_CODE const T &operator[](int) const { return own; }
};
template <class T> using PerWarp = PerLane<T>;

template <class F> SR_CODE void for_each_lane(const F &f) { f(static_cast<int>(threadIdx.x) % kLanes); }

class Block {
public:
  SR_CODE explicit Block(unsigned char *shared) : shared_(shared) {}
  SR_CODE std::int64_t index() const { return blockIdx.x; }
  template <class T> SR_CODE T *shared(int byte) const { return reinterpret_cast<T *>(shared_ + byte); }
  template <class F> SR_CODE void for_each_thread(const F &f) const { f(static_cast<int>(threadIdx.x)); }
  template <class F> SR_CODE void for_each_warp(const F &f) const { f(static_cast<int>(threadIdx.x) / kLanes); }
  SR_CODE void sync() const { __syncthreads(); }

  SR_CODE void copy_async16(void *to, const void *from, bool valid) const {
    const auto shared = static_cast<unsigned>(__cvta_generic_to_shared(to));
    const int size = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(shared), "l"(from), "r"(size) : "memory");
  }
  SR_CODE void commit() const { asm volatile("cp.async.commit_group;\n" ::: "memory"); }
  template <int open> SR_CODE void wait() const { asm volatile("cp.async.wait_group %0;\n" ::"n"(open) : "memory"); }

private:
  unsigned char *shared_;
};

template <class F> SR_CODE void load_matrices(PerLane<A4> &a, const F &address) {
  const auto row = static_cast<unsigned>(__cvta_generic_to_shared(address(static_cast<int>(threadIdx.x) % kLanes)));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(a.own.r[0]), "=r"(a.own.r[1]), "=r"(a.own.r[2]), "=r"(a.own.r[3])
               : "r"(row)
               : "memory");
}

SR_CODE void load_pair(PerLane<B2> &b, const std::uint32_t *from) {
  const uint2 pair = reinterpret_cast<const uint2 *>(from)[static_cast<int>(threadIdx.x) % kLanes];
  b.own.r[0] = pair.x;
  b.own.r[1] = pair.y;
}

SR_CODE void multiply_add(PerLane<C4> &c, const PerLane<A4> &a, const PerLane<B2> &b) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};\n"
               : "+f"(c.own.r[0]), "+f"(c.own.r[1]), "+f"(c.own.r[2]), "+f"(c.own.r[3])
               : "r"(a.own.r[0]), "r"(a.own.r[1]), "r"(a.own.r[2]), "r"(a.own.r[3]), "r"(b.own.r[0]), "r"(b.own.r[1]));
}

SR_CODE float to_float(std::uint16_t half) { return __half2float(__ushort_as_half(half)); }
SR_CODE std::uint16_t to_half(float value) { return __half_as_ushort(__float2half_rn(value)); }
SR_CODE int round_to_even(float value) { return __float2int_rn(value); }

} // namespace superres::kernels
