// One residual block in one launch: both 3x3 convolutions, their ReLUs and the sum with the block's input; for the first
// block the input convolution as well, from the caller's frames.
//
// A block of threads computes a tile of 16 x 32 pixels.  It reads 20 x 36, computes the middle activations of 18 x 34
// pixels into registers (612 pixels, five fragments a warp), and writes them over what it has read; the second convolution
// reads them there.  A middle pixel outside the image is zero, as the second convolution's padding is, and not what the
// first one makes of its own padding.  The same goes for the input convolution: 22 x 38 colours, 20 x 36 pixels, six
// fragments a warp; its pixels of the tile itself are kept aside for the sum.  In the other blocks the sum reads the tile's
// part of the input once more, from the cache.
//
// Bound: the tensor cores.  Computed twice: 1.2 of the first convolution (1.5 of the input convolution), 0.3 of that to
// fill fragments.  Traffic per pixel: 1.4 times the input's channels from cache or memory, once the output's; the middle
// activations never leave the chip.
#pragma once

#include "convolution.h"

namespace superres::kernels {

using MiddleTile = TileRead;   // 18 x 34: what the first convolution computes
using BlockRead = Area<20, 36>; // what it reads; what the input convolution computes
using FrameRead = Area<22, 38>; // what the input convolution reads

struct BlockArguments {
  // Input: `in`, or where it is NULL the caller's frames and the input convolution.
  const std::uint16_t *in;
  Frames frames;
  const std::uint32_t *input_weights;
  const float *input_bias;
  float input_scale; // of the sums, before the bias: 1/255 for uint8 frames
  bool input_relu;

  std::int64_t n;
  int h, w, in_groups, middle_groups, out_groups;
  const std::uint32_t *first_weights, *second_weights; // as pack.h orders them
  const float *first_bias, *second_bias;
  std::uint16_t *out;
};

// Where things lie in shared memory, in bytes.  Staged: pixels where the epilogue gathers them.
struct BlockLayout {
  int staged, ring, tables, total;
};

SR_ANYWHERE constexpr BlockLayout block_layout(bool from_frames, int middle_tiles, int out_tiles, int in_groups,
                                               int middle_groups) {
  int tile = larger(in_groups * BlockRead::kPlane, middle_groups * MiddleTile::kPlane) * 16;
  if (from_frames)
    tile = larger(tile, FrameRead::kPlane * 16);
  BlockLayout layout{};
  layout.staged = from_frames ? tile : 0; // the first block keeps its input there from the start
  layout.ring = tile + (from_frames ? staged_bytes(out_tiles) : 0);
  layout.tables = layout.ring + ring_bytes(larger(middle_tiles, out_tiles));
  const int entries = table_entries(in_groups) + table_entries(middle_groups) + (from_frames ? table_entries(1) : 0);
  layout.total = aligned16(larger(layout.tables + entries * 4, layout.staged + staged_bytes(out_tiles)));
  return layout;
}

// Where in From each row of a warp's fragments of To begins.
template <class From, class To> struct Places {
  PerLane<int> at[To::kFragments];
};

template <class From, class To> SR_CODE void find_places(int warp, Places<From, To> &places) {
  for_each_lane([&](int lane) {
    SR_UNROLL
    for (int i = 0; i < To::kFragments; ++i) {
      const int pixel = (warp * To::kFragments + i) * 16 + lane % 16;
      places.at[i][lane] =
          pixel < To::kPixels ? pixel / To::kColumns * From::kColumns + pixel % To::kColumns : 0; // its sums are dropped
    }
  });
}

// Sums to activations of an area in shared memory, `groups` groups, for the next product; zero outside the image, whose
// pixel (y0, x0) is the area's first.  also(pixel of the area, tile, channel, pair) sees every tile's.
template <class Shape, int tiles, class Also>
SR_CODE void keep(int warp, const Sums<Shape::kFragments, tiles> &sums, const float *biases, float scale, bool relu,
                  int y0, int x0, int h, int w, int groups, std::uint16_t *tile, const Also &also) {
  for_each_lane([&](int lane) {
    SR_UNROLL
    for (int i = 0; i < Shape::kFragments; ++i) {
      SR_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int pixel = (warp * Shape::kFragments + i) * 16 + lane / 4 + 8 * half;
        if (pixel >= Shape::kPixels)
          continue;
        const int y = y0 + pixel / Shape::kColumns, x = x0 + pixel % Shape::kColumns;
        const bool inside = y >= 0 && y < h && x >= 0 && x < w;
        SR_UNROLL
        for (int t = 0; t < tiles; ++t) {
          const int channel = 8 * t + 2 * (lane % 4);
          float first = sums.c[i][t][lane].r[2 * half] * scale + biases[channel];
          float second = sums.c[i][t][lane].r[2 * half + 1] * scale + biases[channel + 1];
          if (relu) {
            first = positive(first);
            second = positive(second);
          }
          const std::uint32_t pair = inside ? pair_of(first, second) : 0;
          if (t < groups)
            *reinterpret_cast<std::uint32_t *>(tile + (t * Shape::kPlane + pixel) * 8 + 2 * (lane % 4)) = pair;
          also(pixel, t, channel, pair);
        }
      }
    }
  });
}

// The sums of To's pixels, from what lies in `tile` as From, after start_product.  All warps are done with tile and ring
// when it returns.
template <class From, class To, int tiles>
SR_CODE void multiply_area(Block &block, const std::uint32_t *weights, int stages, const std::uint16_t *tile,
                           const int *table, std::uint32_t *ring, PerWarp<Sums<To::kFragments, tiles>> &sums) {
  PerWarp<Places<From, To>> places;
  block.for_each_warp([&](int warp) { find_places<From, To>(warp, places[warp]); });
  clear(block, sums);
  multiply<To::kFragments, tiles, tiles>(
      block, weights, stages, tile, table, ring, sums,
      [&](int warp, int i, int lane) { return places[warp].at[i][lane]; }, [](int) { return 0; });
  block.template wait<0>();
  block.sync();
}

// The input convolution: the block's input into `tile`, and its pixels of the tile itself into `staged`.
template <int middle_tiles, int out_tiles>
SR_CODE void compute_input(Block &block, const BlockArguments &args, const TilePlace &place, std::uint16_t *tile,
                           std::uint16_t *staged, std::uint32_t *ring, const int *table) {
  static_assert(middle_tiles <= out_tiles, "the sum has no fewer channels than the middle");
  fill_from_frames<FrameRead>(block, args.frames, args.h, args.w, place.image, place.y - 3, place.x - 3, tile);
  start_product<middle_tiles>(block, args.input_weights, stages_of(1), ring);
  PerWarp<Sums<BlockRead::kFragments, middle_tiles>> sums;
  multiply_area<FrameRead, BlockRead, middle_tiles>(block, args.input_weights, stages_of(1), tile, table, ring, sums);
  start_product<middle_tiles>(block, args.first_weights, stages_of(args.in_groups), ring);
  block.for_each_warp([&](int warp) {
    keep<BlockRead, middle_tiles>(
        warp, sums[warp], args.input_bias, args.input_scale, args.input_relu, place.y - 2, place.x - 2, args.h, args.w,
        args.in_groups, tile, [&](int pixel, int t, int channel, std::uint32_t pair) {
          const int y = pixel / BlockRead::kColumns - 2, x = pixel % BlockRead::kColumns - 2;
          if (y < 0 || y >= Tile::kRows || x < 0 || x >= Tile::kColumns)
            return;
          std::uint16_t *to = staged + (y * Tile::kColumns + x) * staged_channels(out_tiles) + channel;
          *reinterpret_cast<std::uint32_t *>(to) = pair;
          if (t == middle_tiles - 1) {
            SR_UNROLL
            for (int more = 1; more <= out_tiles - middle_tiles; ++more) // channels that the input does not have
              *reinterpret_cast<std::uint32_t *>(to + 8 * more) = 0;
          }
        });
  });
}

// *_tiles: 8 channels each; middle_tiles >= middle_groups, and in_groups where the input comes from frames.
template <bool from_frames, int middle_tiles, int out_tiles>
SR_CODE void compute_block(Block &block, const BlockArguments &args) {
  const TilePlace place = place_of(block.index(), args.h, args.w, Tile::kRows, Tile::kColumns, 1);
  const BlockLayout layout = block_layout(from_frames, middle_tiles, out_tiles, args.in_groups, args.middle_groups);
  auto *tile = block.shared<std::uint16_t>(0);
  auto *staged = block.shared<std::uint16_t>(layout.staged);
  auto *ring = block.shared<std::uint32_t>(layout.ring);
  auto *first_table = block.shared<int>(layout.tables);
  int *second_table = first_table + table_entries(args.in_groups);
  const int first_stages = stages_of(args.in_groups), second_stages = stages_of(args.middle_groups);
  const Source source{args.in, args.h, args.w, args.in_groups};

  make_table3<BlockRead>(block, args.in_groups, first_table);
  make_table3<MiddleTile>(block, args.middle_groups, second_table);
  if constexpr (from_frames) {
    int *input_table = second_table + table_entries(args.middle_groups);
    make_table3<FrameRead>(block, 1, input_table);
    compute_input<middle_tiles, out_tiles>(block, args, place, tile, staged, ring, input_table);
  } else {
    fill_from_activations<BlockRead>(block, source, place.image, place.y - 2, place.x - 2, 0, args.in_groups, tile,
                                     BlockRead::kPlane, [](int pixel) { return pixel; });
    start_product<middle_tiles>(block, args.first_weights, first_stages, ring);
  }
  {
    PerWarp<Sums<MiddleTile::kFragments, middle_tiles>> sums;
    multiply_area<BlockRead, MiddleTile, middle_tiles>(block, args.first_weights, first_stages, tile, first_table, ring,
                                                       sums);
    start_product<out_tiles>(block, args.second_weights, second_stages, ring);
    block.for_each_warp([&](int warp) {
      keep<MiddleTile, middle_tiles>(warp, sums[warp], args.first_bias, 1.0f, true, place.y - 1, place.x - 1, args.h,
                                     args.w, args.middle_groups, tile, [](int, int, int, std::uint32_t) {});
    });
  }
  PerWarp<Sums<Tile::kFragments, out_tiles>> sums;
  multiply_area<MiddleTile, Tile, out_tiles>(block, args.second_weights, second_stages, tile, second_table, ring, sums);
  if constexpr (!from_frames)
    fetch_residual<out_tiles>(block, source, place, staged);
  block.for_each_warp(
      [&](int warp) { gather<out_tiles>(warp, sums[warp], args.second_bias, 1.0f, true, true, staged); });
  block.sync();
  store_activations<out_tiles>(block, place, args.h, args.w, staged, args.out, args.out_groups);
}

// from_frames, middle_tiles, out_tiles of the kernels that are compiled: what the paper's network needs, and a small one.
// A block takes the first one that has tiles enough.
#define SR_BLOCK_KERNELS(X)                                                                                           \
  X(true, 2, 2)                                                                                                        \
  X(true, 4, 5)                                                                                                        \
  X(true, 5, 5)                                                                                                        \
  X(false, 2, 2)                                                                                                       \
  X(false, 4, 5)                                                                                                       \
  X(false, 5, 5)                                                                                                       \
  X(false, 5, 6)                                                                                                       \
  X(false, 6, 6)                                                                                                       \
  X(false, 6, 7)                                                                                                       \
  X(false, 7, 7)                                                                                                       \
  X(false, 7, 8)                                                                                                       \
  X(false, 8, 8)

} // namespace superres::kernels
