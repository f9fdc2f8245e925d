// The sub-pixel convolution, the pixel shuffle and the strided output convolution as one, for networks whose scale is s/2.
//
// Nothing bends between the three, so that together they are one linear map: 2 x 2 coarse pixels make s x s output pixels
// by a 5x5 convolution with stride 2 to 3 s s channels (src/fold.h).  For s = 5 that is 1.46 times less work than the two
// layers, and the fine picture, 25 times as many pixels as the coarse one, is never made.  The outermost output pixels are
// another map, as the output convolution reads zeros beyond the fine picture: border.h computes them, and this kernel
// leaves them alone.
//
// A block of threads has 16 x 32 coarse pixels, as 8 x 16 pairs of pairs: eight fragments, each a row of 16.  A warp has
// two of them and one half of the channels.  What it reads, 19 x 36 pixels, lies with even columns before odd ones, so that
// the eight rows that ldmatrix reads are neighbours here too.  Clamp, rounding and the store as uint8 follow at once.
//
// Bound: the tensor cores.  Traffic per coarse pixel: 1.3 times the input's channels, once the output (18.75 bytes as
// uint8 for s = 5).
#pragma once

#include "implicit_gemm.h"
#include "output.h"

namespace superres::kernels {

constexpr int kFoldedSide = 5, kFoldedTaps = kFoldedSide * kFoldedSide, kFoldedBefore = 2;
constexpr int kFoldedRows = 8, kFoldedColumns = 16; // pairs of pairs of a tile
using FoldedRead = Area<2 * (kFoldedRows - 1) + kFoldedSide, 2 * (kFoldedColumns - 1) + kFoldedSide + 1>;
constexpr int kOddColumns = FoldedRead::kColumns / 2; // where the odd ones begin in a row
constexpr int kFoldedFragments = 2, kFoldedHalves = kWarps / (kFoldedRows / kFoldedFragments);
static_assert(kFoldedHalves == 2, "a warp has two of eight fragments and one of two halves of the channels");

struct FoldedArguments {
  const std::uint16_t *in;
  std::int64_t n;
  int h, w, in_groups;
  int chunk_groups, chunks;
  const std::uint32_t *weights; // as pack.h orders them, of 25 taps
  const float *bias;            // for every channel of every block
  float scale;                  // of the sums, before the bias
  int out_blocks;               // blocks that share a tile, each for 16 `tiles` channels
  int shuffle;                  // s
  OutputPlace out;
  bool last_row, last_column; // whether the last ones are left to border.h, as the first ones are
};

SR_ANYWHERE constexpr int folded_stride(int tiles) { return 16 * tiles + 8; } // floats: rows 8 banks apart

SR_ANYWHERE constexpr int folded_shared_bytes(int tiles, int chunk_groups) {
  return aligned16(larger(chunk_groups * FoldedRead::kPlane * 16 + ring_bytes(2 * tiles) +
                              table_entries(chunk_groups, kFoldedTaps) * 4,
                          kFoldedRows * kFoldedColumns * folded_stride(tiles) * 4));
}

SR_CODE int folded_place(int y, int x) { return y * FoldedRead::kColumns + x % 2 * kOddColumns + x / 2; }

template <int tiles>
SR_CODE void stage_folded(int warp, const Sums<kFoldedFragments, tiles> &sums, const float *biases, float scale,
                          float *staged) {
  const int row = warp % 4 * kFoldedFragments, first_channel = warp / 4 * tiles * 8;
  for_each_lane([&](int lane) {
    SR_UNROLL
    for (int t = 0; t < tiles; ++t) {
      const int channel = first_channel + 8 * t + 2 * (lane % 4);
      const float bias0 = biases[channel], bias1 = biases[channel + 1];
      SR_UNROLL
      for (int i = 0; i < kFoldedFragments; ++i) {
        SR_UNROLL
        for (int half = 0; half < 2; ++half) {
          float *to = staged + ((row + i) * kFoldedColumns + lane / 4 + 8 * half) * folded_stride(tiles) + channel;
          to[0] = sums.c[i][t][lane].r[2 * half] * scale + bias0;
          to[1] = sums.c[i][t][lane].r[2 * half + 1] * scale + bias1;
        }
      }
    }
  });
}

// Channel (c s + i) s + j of a pair of pairs is row i, column j of its s x s output pixels of colour c.  A warp writes an
// output row of the tile at a time; where a block's channels begin or end within it, only its columns of them.
template <int tiles>
SR_CODE void store_folded(const Block &block, const FoldedArguments &args, const TilePlace &place,
                          const float *staged) {
  const int s = args.shuffle, first = place.out_block * tiles * 16;
  const int end = first + tiles * 16 < 3 * s * s ? first + tiles * 16 : 3 * s * s;
  const int first_line = first / s, lines = (end + s - 1) / s - first_line;
  const OutputPlace &out = args.out;
  const int top = place.y / 2 * s, left = place.x / 2 * s;
  const int end_row = args.last_row ? out.h - 1 : out.h, end_column = args.last_column ? out.w - 1 : out.w;
  block.for_each_warp([&](int warp) {
    for (int item = warp; item < lines * kFoldedRows; item += kWarps) {
      const int line = first_line + item / kFoldedRows, row = item % kFoldedRows;
      const int colour = line / s, y = top + row * s + line % s;
      if (y == 0 || y >= end_row || !out.has_row(y))
        continue;
      const std::int64_t at = out.row(place.image, colour, y);
      for_each_lane([&](int lane) {
        int column = lane / s, j = lane % s;
        for (int x = lane; x < kFoldedColumns * s; x += kLanes) {
          const int channel = line * s + j;
          if (channel >= first && channel < end && left + x > 0 && left + x < end_column)
            store_colour(out.frames, at + (left + x) * out.frames.strides[3],
                         staged[(row * kFoldedColumns + column) * folded_stride(tiles) + channel - first]);
          column += kLanes / s;
          j += kLanes % s;
          if (j >= s) {
            j -= s;
            ++column;
          }
        }
      });
    }
  });
}

// tiles: of 8 output channels, of one warp; a block has twice as many.
template <int tiles> SR_CODE void convolve_folded(Block &block, const FoldedArguments &args) {
  const TilePlace place = place_of(block.index(), args.h, args.w, 2 * kFoldedRows, 2 * kFoldedColumns, args.out_blocks);
  const int ring_at = args.chunk_groups * FoldedRead::kPlane * 16;
  auto *tile = block.shared<std::uint16_t>(0);
  auto *ring = block.shared<std::uint32_t>(ring_at);
  auto *table = block.shared<int>(ring_at + ring_bytes(2 * tiles));
  auto *staged = block.shared<float>(0); // takes the place of what was read
  const int stages = stages_of(args.chunk_groups, kFoldedTaps);
  const Source source{args.in, args.h, args.w, args.in_groups};

  PerWarp<Sums<kFoldedFragments, tiles>> sums;
  clear(block, sums);
  make_table(block, args.chunk_groups, kFoldedTaps, FoldedRead::kPlane,
             [](int tap) { return folded_place(tap / kFoldedSide, tap % kFoldedSide); }, table);
  for (int chunk = 0; chunk < args.chunks; ++chunk) {
    const std::int64_t first_stage = (static_cast<std::int64_t>(place.out_block) * args.chunks + chunk) * stages;
    const std::uint32_t *weights = args.weights + first_stage * (kStageSteps * 2 * tiles * kStepWords);
    if (chunk > 0)
      block.sync(); // the last chunk's tile and slots have been read
    fill_from_activations<FoldedRead>(
        block, source, place.image, place.y - kFoldedBefore, place.x - kFoldedBefore, chunk * args.chunk_groups,
        args.chunk_groups, tile, FoldedRead::kPlane,
        [](int pixel) { return folded_place(pixel / FoldedRead::kColumns, pixel % FoldedRead::kColumns); });
    start_product<2 * tiles>(block, weights, stages, ring);
    multiply<kFoldedFragments, tiles, 2 * tiles>(
        block, weights, stages, tile, table, ring, sums,
        [](int warp, int i, int lane) {
          return 2 * (warp % 4 * kFoldedFragments + i) * FoldedRead::kColumns + lane % 16;
        },
        [](int warp) { return warp / 4 * tiles; });
  }
  block.template wait<0>();
  block.sync();
  block.for_each_warp([&](int warp) {
    stage_folded<tiles>(warp, sums[warp], args.bias + place.out_block * tiles * 16, args.scale, staged);
  });
  block.sync();
  store_folded<tiles>(block, args, place, staged);
}

// `tiles` of the kernels that are compiled: for s = 3, and for s = 5 and 7.
#define SR_FOLDED_KERNELS(X) X(2) X(5)

} // namespace superres::kernels
