// The host form of shim.h: the kernels without a GPU, for tests.  It is stricter than a card: shared memory begins as NaN,
// is as large as asked for and no larger (an address sanitizer sees the rest), an asynchronous copy leaves NaN where it
// will land until it is waited for, misaligned accesses end the program, and warps can run in reverse order, so that a
// missing barrier changes the result.
#pragma once

#include <algorithm>
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

template <class T, int count> struct Each {
  T all[count];
  T &operator[](int i) { return all[i]; }
  const T &operator[](int i) const { return all[i]; }
};
template <class T> using PerLane = Each<T, kLanes>;
template <class T> using PerWarp = Each<T, kWarps>;

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

class Block {
public:
  Block(std::int64_t index, std::vector<std::uint64_t> &shared, bool reversed)
      : index_(index), shared_(reinterpret_cast<unsigned char *>(shared.data())), reversed_(reversed) {
    std::fill(shared.begin(), shared.end(), ~std::uint64_t{0});
  }
  std::int64_t index() const { return index_; }
  template <class T> T *shared(int byte) const { return reinterpret_cast<T *>(shared_ + byte); }
  template <class F> void for_each_thread(const F &f) const { in_order(kThreads, f); }
  template <class F> void for_each_warp(const F &f) const { in_order(kWarps, f); }
  void sync() const {}

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
  template <class F> void in_order(int count, const F &f) const {
    for (int i = 0; i < count; ++i)
      f(reversed_ ? count - 1 - i : i);
  }

  std::int64_t index_;
  unsigned char *shared_;
  bool reversed_;
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
