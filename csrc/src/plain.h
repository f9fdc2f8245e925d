// The plain float32 forward on the CPU: exact, threaded, not fast.  What callers without a GPU get, and the oracle of the
// kernels.
#pragma once

#include <memory>

#include "frames.h"
#include "network.h"

namespace superres {

class PlainForward {
public:
  // threads: 0 for one a core.
  PlainForward(const Network &network, int threads);

  std::size_t workspace_bytes(std::int64_t n, std::int64_t h, std::int64_t w) const;

  // workspace: at least workspace_bytes(n, h, w), aligned for floats.
  void run(const Frames &in, const Frames &out, std::int64_t n, std::int64_t h, std::int64_t w, const Rows &rows,
           float *workspace) const;

  int threads() const { return threads_; }

private:
  // weight: [tap][in][out], so that the innermost loop runs over neighbouring outputs.
  struct Convolution {
    int in, out;
    std::vector<float> weight, bias;
  };
  // A picture in memory: h x w pixels of `channels` floats.
  struct Map {
    float *values;
    std::int64_t h, w;
    int channels;
  };

  static void sum(const Convolution &convolution, const Map &in, std::int64_t y, std::int64_t x, float *sums);
  static Convolution repacked(const Layer &layer);
  void convolve(const Convolution &convolution, const Map &in, const Map &out, bool relu, const Map *residual) const;
  void load(const Frames &in, std::int64_t image, const Map &map) const;
  void expand(const Map &in, const Map &fine) const;
  void store(const Map &fine, const Frames &out, const Rows &rows, std::int64_t image) const;

  sr_network numbers_;
  int threads_, widest_;
  std::vector<Convolution> layers_;
};

} // namespace superres
