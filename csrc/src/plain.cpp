#include "plain.h"

#include <algorithm>

// Standard C++ has no word for it, and without it the innermost loop is not vectorised.
#if defined(_MSC_VER)
#define SR_RESTRICT __restrict
#else
#define SR_RESTRICT __restrict__
#endif

namespace superres {

PlainConvolution::PlainConvolution(const Layer &layer)
    : outputs_(layer.out), weight_(layer.weight.size()), bias_(layer.bias) {
  const auto in = static_cast<std::size_t>(layer.in), out = static_cast<std::size_t>(layer.out);
  for (std::size_t o = 0; o < out; ++o)
    for (std::size_t i = 0; i < in; ++i)
      for (std::size_t tap = 0; tap < 9; ++tap)
        weight_[(tap * in + i) * out + o] = layer.weight[(o * in + i) * 9 + tap];
}

void PlainConvolution::sum(const Map &in, std::int64_t y, std::int64_t x, float *SR_RESTRICT sums) const {
  std::copy(bias_.begin(), bias_.end(), sums);
  for (int tap = 0; tap < 9; ++tap) {
    const auto yy = y + tap / 3 - 1, xx = x + tap % 3 - 1;
    if (yy < 0 || yy >= in.h || xx < 0 || xx >= in.w)
      continue;
    const int inputs = in.channels, outputs = outputs_;
    const float *SR_RESTRICT pixel = in.values + (yy * in.w + xx) * inputs;
    const float *SR_RESTRICT weight = weight_.data() + static_cast<std::ptrdiff_t>(tap) * inputs * outputs;
    for (int i = 0; i < inputs; ++i, weight += outputs) {
      const float value = pixel[i];
      for (int o = 0; o < outputs; ++o)
        sums[o] += value * weight[o];
    }
  }
}

} // namespace superres
