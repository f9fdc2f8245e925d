// A 3×3 convolution on the CPU as plain loops: the oracle of all others, and what runs where these cannot.
#pragma once

#include "network.h"

namespace superres {

// A picture in memory: h × w pixels of `channels` floats.
struct Map {
  float *values;
  std::int64_t h, w;
  int channels;
};

class PlainConvolution {
public:
  explicit PlainConvolution(const Layer &layer);

  // sums[o] = bias[o] + the convolution around (y, x), zero outside the map.
  void sum(const Map &in, std::int64_t y, std::int64_t x, float *sums) const;

  const float *bias() const { return bias_.data(); }

private:
  int outputs_;
  std::vector<float> weight_, bias_; // weight: [tap][in][out], so that the innermost loop runs over neighbouring outputs
};

} // namespace superres
