#include "shim.h"

namespace superres::kernels {

void multiply_add(PerLane<C4> &c, const PerLane<A4> &a, const PerLane<B2> &b) {
  float left[16][16], right[16][8];
  for (int lane = 0; lane < kLanes; ++lane) {
    const int row = lane / 4, column = 2 * (lane % 4);
    for (int low = 0; low < 2; ++low) {
      for (int m = 0; m < 4; ++m)
        left[row + 8 * (m % 2)][column + 8 * (m / 2) + low] =
            float_of_half(static_cast<std::uint16_t>(a[lane].r[m] >> 16 * low));
      for (int m = 0; m < 2; ++m)
        right[column + 8 * m + low][row] = float_of_half(static_cast<std::uint16_t>(b[lane].r[m] >> 16 * low));
    }
  }
  for (int row = 0; row < 16; ++row) {
    float sums[8] = {};
    for (int k = 0; k < 16; ++k)
      for (int n = 0; n < 8; ++n)
        sums[n] += left[row][k] * right[k][n];
    for (int n = 0; n < 8; ++n)
      c[row % 8 * 4 + n / 2].r[row / 8 * 2 + n % 2] += sums[n];
  }
}

} // namespace superres::kernels
