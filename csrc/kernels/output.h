// The output convolution: 3 to 3 colours, 3x3, stride `down`, from the fine picture to the caller's frames.
//
// A thread computes the three colours of one output pixel in float32 (81 multiply-adds); neighbouring threads are
// neighbouring pixels of a row.  Bound: memory, 6 bytes read per fine pixel (the overlap of neighbours hits the cache)
// and 3 or 12 bytes written per output pixel.
#pragma once

#include "../src/frames.h"
#include "shim.h"

namespace superres::kernels {

// Where an output of h x w pixels goes: rows from `begin` to before `end` of it, the first of them to the first row of the
// frames.
struct OutputPlace {
  Frames frames;
  int h, w, begin, end;

  SR_CODE bool has_row(int y) const { return y >= begin && y < end; }
  SR_CODE std::int64_t row(std::int64_t image, int colour, int y) const {
    return image * frames.strides[0] + colour * frames.strides[1] + (y - begin) * frames.strides[2];
  }
};

struct OutputArguments {
  const std::uint16_t *fine; // float16, [n][3][fine_h][fine_w]
  std::int64_t n;
  int fine_h, fine_w, down;
  float weight[81], bias[3]; // (out, in, 3, 3), (out)
  OutputPlace out;
};

SR_ANYWHERE inline int row_pieces(int w) { return (w + kThreads - 1) / kThreads; }

SR_CODE void store_colour(const Frames &frames, std::int64_t at, float value) {
  if (frames.is_u8) {
    const float unit = value > 0.0f ? (value < 1.0f ? value : 1.0f) : 0.0f; // NaN becomes 0
    static_cast<std::uint8_t *>(frames.data)[at] = static_cast<std::uint8_t>(round_to_even(unit * 255.0f));
  } else {
    static_cast<float *>(frames.data)[at] = value;
  }
}

SR_CODE void convolve_output(Block &block, const OutputArguments &args) {
  std::int64_t index = block.index();
  const OutputPlace &out = args.out;
  const int pieces = row_pieces(out.w), rows = out.end - out.begin;
  const int first_x = static_cast<int>(index % pieces) * kThreads;
  index /= pieces;
  const int y = out.begin + static_cast<int>(index % rows);
  const std::int64_t image = index / rows;
  block.for_each_thread([&](int thread) {
    const int x = first_x + thread;
    if (x >= out.w)
      return;
    float sums[3] = {args.bias[0], args.bias[1], args.bias[2]};
    SR_UNROLL
    for (int c = 0; c < 3; ++c) {
      SR_UNROLL
      for (int tap = 0; tap < 9; ++tap) {
        const int yy = y * args.down + tap / 3 - 1, xx = x * args.down + tap % 3 - 1;
        if (yy < 0 || yy >= args.fine_h || xx < 0 || xx >= args.fine_w)
          continue;
        const float value = to_float(args.fine[((image * 3 + c) * args.fine_h + yy) * args.fine_w + xx]);
        SR_UNROLL
        for (int o = 0; o < 3; ++o)
          sums[o] += value * args.weight[(o * 3 + c) * 9 + tap];
      }
    }
    SR_UNROLL
    for (int o = 0; o < 3; ++o)
      store_colour(out.frames, out.row(image, o, y) + x * out.frames.strides[3], sums[o]);
  });
}

} // namespace superres::kernels
