// The float32 forward on the CPU: by Winograd's transform where the processor has AVX2 and FMA, else by plain loops.
#pragma once

#include "frames.h"
#include "network.h"
#include "plain.h"

namespace superres {

class CpuForward {
public:
  // threads: 0 for one a core.  plain: plain loops for every layer, as the oracle of all else.
  CpuForward(const Network &network, int threads, bool plain);

  std::size_t workspace_bytes(std::int64_t n, std::int64_t h, std::int64_t w) const;

  // workspace: at least workspace_bytes(n, h, w), aligned to 64 bytes.  Allocates nothing but what threads take.
  void run(const Frames &in, const Frames &out, std::int64_t n, std::int64_t h, std::int64_t w, const Rows &rows,
           float *workspace) const;

  int threads() const { return threads_; }
  // Which layers run how, in words.
  std::string kernel_text() const;
  // What a part of an image must read around itself, and of what its origin must be a multiple, to give the bits of the
  // whole.  Winograd's transform rounds tile by tile of 4×4: a value is the same only where all of its tile is.
  int halo_px() const;
  int origin_multiple() const;

private:
  struct Convolution {
    PlainConvolution plain;
    int inputs, outputs;
    std::vector<float> transformed; // empty where the plain loops run
  };

  void convolve(const Convolution &convolution, const Map &in, const Map &out, bool relu, const Map *residual,
                float *scratch) const;
  void load(const Frames &in, std::int64_t image, const Map &map) const;
  void store(const Map &expanded, const Frames &out, const Rows &rows, std::int64_t image, float *scratch) const;
  std::size_t scratch_floats(std::int64_t w) const; // of one thread
  std::size_t line_floats(std::int64_t w) const;    // of one fine row of one colour, in `store`
  const Convolution &expand() const { return layers_.back(); }

  sr_network numbers_;
  int threads_, widest_, origin_multiple_;
  std::vector<Convolution> layers_; // all but the output convolution
  std::vector<float> output_weight_, output_bias_; // [output][colour][tap]
};

} // namespace superres
