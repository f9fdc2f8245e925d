// The host form of shim.h: the kernels without a GPU, for tests.  The warps of a block take turns, each running to its
// next barrier before another one goes on, so that what a missing barrier would leave to chance is always wrong.  It is
// stricter than a card elsewhere too: shared memory begins as NaN, is as large as asked for and no larger (an address
// sanitizer sees the rest), an asynchronous copy leaves NaN where it will land until its own warp has waited for it, and
// misaligned accesses end the program.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "../src/half.h"

#define SR_CODE inline
#define SR_ANYWHERE
#define SR_UNROLL

namespace superres::kernels {

template <class T> struct PerLane {
  T all[kLanes];
  T &operator[](int lane) { return all[lane]; }
  const T &operator[](int lane) const { return all[lane]; }
};
template <class T> struct PerWarp {
  T own;
  T &operator[](int) { return own; }
  const T &operator[](int) const { return own; }
};

template <class F> inline void for_each_lane(const F &f) {
  for (int lane = 0; lane < kLanes; ++lane)
    f(lane);
}

inline void require_aligned(const void *pointer, std::uintptr_t bytes, const char *what) {
  if (reinterpret_cast<std::uintptr_t>(pointer) % bytes != 0) {
    std::fprintf(stderr, "misaligned %s: %p, expected a multiple of %d\n", what, pointer, static_cast<int>(bytes));
    std::abort();
  }
}

// Where a warp waits for the others of its block.
class Barrier {
public:
  virtual ~Barrier() = default;
  virtual void wait() = 0;
};

// A block as one of its warps sees it.
class Block {
public:
  Block(std::int64_t index, unsigned char *shared, int warp, Barrier &barrier)
      : index_(index), shared_(shared), warp_(warp), barrier_(barrier) {}
  std::int64_t index() const { return index_; }
  template <class T> T *shared(int byte) const { return reinterpret_cast<T *>(shared_ + byte); }
  template <class F> void for_each_thread(const F &f) const {
    for_each_lane([&](int lane) { f(warp_ * kLanes + lane); });
  }
  template <class F> void for_each_warp(const F &f) const { f(warp_); }
  void sync() const { barrier_.wait(); }

  void copy_async16(void *to, const void *from, bool valid) {
    require_aligned(to, 16, "shared address of a copy");
    require_aligned(from, 16, "global address of a copy");
    std::memset(to, 0xff, 16);
    open_.push_back({to, valid ? from : nullptr});
  }
  void commit() {
    groups_.push_back(std::move(open_));
    open_.clear();
  }
  template <int open> void wait() {
    while (groups_.size() > open) {
      for (const auto &copy : groups_.front())
        copy.from ? std::memcpy(copy.to, copy.from, 16) : std::memset(copy.to, 0, 16);
      groups_.erase(groups_.begin());
    }
  }

private:
  struct Copy {
    void *to;
    const void *from;
  };

  std::int64_t index_;
  unsigned char *shared_;
  int warp_;
  Barrier &barrier_;
  std::vector<Copy> open_;
  std::vector<std::vector<Copy>> groups_;
};

// Lane 8 m + i names row i of matrix m; lane l gets columns 2 (l % 4) and the next of row l / 4 of each matrix.
template <class F> inline void load_matrices(PerLane<A4> &a, const F &address) {
  const void *rows[kLanes];
  for_each_lane([&](int lane) {
    rows[lane] = address(lane);
    require_aligned(rows[lane], 16, "row of a matrix");
  });
  for_each_lane([&](int lane) {
    for (int m = 0; m < 4; ++m)
      std::memcpy(&a[lane].r[m], static_cast<const char *>(rows[8 * m + lane / 4]) + 4 * (lane % 4), 4);
  });
}

inline void load_pair(PerLane<B2> &b, const std::uint32_t *from) {
  require_aligned(from, 8, "pair of weights");
  for_each_lane([&](int lane) { std::memcpy(b[lane].r, from + 2 * lane, 8); });
}

// In shim_host.cpp: it touches nothing but its arguments, so it is compiled for speed and without sanitizers.
void multiply_add(PerLane<C4> &c, const PerLane<A4> &a, const PerLane<B2> &b);

inline float to_float(std::uint16_t half) { return float_of_half(half); }
inline std::uint16_t to_half(float value) { return half_of_float(value); }
inline int round_to_even(float value) { return static_cast<int>(std::nearbyint(value)); }

} // namespace superres::kernels
