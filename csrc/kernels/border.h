// The outermost output pixels, which the folded tail leaves out.
//
// There the strided output convolution reads zeros beyond the fine picture.  So an outermost pixel is another linear map of
// the features than its like inside: the fold of the taps that lie within the picture (src/fold.h).  There is one for each
// kind of row and each kind of column: phase 0 .. s - 1 inside, then s for the first, s + 1 for the last, and s + 2 for one
// that is both.
//
// A thread computes one colour of one pixel in float32; neighbouring threads are neighbouring pixels.  Bound: the latency of
// the cache; 20,476 pixels of 1,600 multiply-adds a colour at 2048^2 -> 5120^2, a ten-thousandth of the network.
#pragma once

#include "implicit_gemm.h"
#include "output.h"

namespace superres::kernels {

struct BorderArguments {
  const std::uint16_t *in; // activations
  std::int64_t n;
  int h, w, in_groups;
  const float *weights; // [row kind][column kind][colour][side][side][8 in_groups]
  const float *bias;    // [row kind][column kind][colour]
  int shuffle, stride, before, side;
  OutputPlace out;
  bool last_row, last_column; // whether the last ones are special, as the first ones are
};

struct BorderRows {
  int rows, columns; // outermost rows; outermost columns of each other row
  std::int64_t pixels;
};

SR_ANYWHERE inline BorderRows border_rows(const BorderArguments &args) {
  const int rows = args.last_row && args.out.h > 1 ? 2 : 1, columns = args.last_column && args.out.w > 1 ? 2 : 1;
  return {rows, columns,
          static_cast<std::int64_t>(rows) * args.out.w + static_cast<std::int64_t>(columns) * (args.out.h - rows)};
}

SR_CODE int kind_of(int at, int length, int shuffle, bool last) {
  const bool is_first = at == 0, is_last = last && at == length - 1;
  return is_first ? shuffle + (is_last ? 2 : 0) : is_last ? shuffle + 1 : at % shuffle;
}

SR_CODE void compute_border(Block &block, const BorderArguments &args) {
  const BorderRows border = border_rows(args);
  const OutputPlace &out = args.out;
  block.for_each_thread([&](int thread) {
    std::int64_t item = block.index() * kThreads + thread;
    if (item >= args.n * 3 * border.pixels)
      return;
    const std::int64_t pixel = item % border.pixels;
    item /= border.pixels;
    const int colour = static_cast<int>(item % 3);
    const std::int64_t image = item / 3, in_rows = static_cast<std::int64_t>(border.rows) * out.w;
    int y, x;
    if (pixel < in_rows) {
      y = pixel < out.w ? 0 : out.h - 1;
      x = static_cast<int>(pixel % out.w);
    } else {
      y = 1 + static_cast<int>((pixel - in_rows) / border.columns);
      x = (pixel - in_rows) % border.columns != 0 ? out.w - 1 : 0;
    }
    if (!out.has_row(y))
      return;
    const int kinds = args.shuffle + 3;
    const std::int64_t map = (static_cast<std::int64_t>(kind_of(y, out.h, args.shuffle, args.last_row)) * kinds +
                              kind_of(x, out.w, args.shuffle, args.last_column)) * 3 + colour;
    const float *weights = args.weights + map * args.side * args.side * args.in_groups * 8;
    const int top = y / args.shuffle * args.stride - args.before, left = x / args.shuffle * args.stride - args.before;
    float sum = args.bias[map];
    for (int tap = 0; tap < args.side * args.side; ++tap, weights += args.in_groups * 8) {
      const int yy = top + tap / args.side, xx = left + tap % args.side;
      if (yy < 0 || yy >= args.h || xx < 0 || xx >= args.w)
        continue;
      const auto *features = reinterpret_cast<const Group *>(
          args.in + ((image * args.h + yy) * args.w + xx) * args.in_groups * 8);
      for (int group = 0; group < args.in_groups; ++group) {
        const Group eight = features[group];
        SR_UNROLL
        for (int word = 0; word < 4; ++word) {
          sum += to_float(static_cast<std::uint16_t>(eight.words[word])) * weights[group * 8 + 2 * word];
          sum += to_float(static_cast<std::uint16_t>(eight.words[word] >> 16)) * weights[group * 8 + 2 * word + 1];
        }
      }
    }
    store_colour(out.frames, out.row(image, colour, y) + x * out.frames.strides[3], sum);
  });
}

} // namespace superres::kernels
