// What the convolution kernels share: a 3x3 or 5x5 convolution as the product of a (pixels) x (taps x input channels)
// matrix and the weights, by tensor cores.
//
// Activations are float16, [n][y][x][channel], channels padded to a multiple of 8 (a "group" is 8 channels, 16 bytes).
// Padded channels are zero: their weights and biases are, and the ReLU and the residual keep them so.  Hence the residual's
// missing channels need no care, and the network's zero-padded channel augmentation costs nothing.
//
// The pixels that a block reads lie in shared memory as [group][pixel][8 channels]: the eight rows that ldmatrix reads at
// a time are neighbouring pixels, 128 bytes without a bank conflict at every tap.  The pixels that it computes are numbered
// in rows; a warp has some fragments of 16 of them, the M of an mma.  K runs over (tap, group) pairs, two to an mma, so that
// 40 channels need no padding to 48.  Weights are packed in the order in which lanes want them and come by cp.async
// through a ring of three slots of two steps.
#pragma once

#include "../src/frames.h"
#include "shim.h"

namespace superres::kernels {

constexpr int kSlots = 3, kStageSteps = 2;
constexpr int kStepWords = 64; // 32-bit words of weights that an mma takes

SR_ANYWHERE constexpr int stages_of(int chunk_groups, int taps = 9) {
  return (taps * chunk_groups + 2 * kStageSteps - 1) / (2 * kStageSteps);
}
SR_ANYWHERE constexpr int table_entries(int chunk_groups, int taps = 9) {
  return 2 * kStageSteps * stages_of(chunk_groups, taps);
}
SR_ANYWHERE constexpr int ring_bytes(int tiles) { return kSlots * kStageSteps * tiles * kStepWords * 4; }
SR_ANYWHERE constexpr int larger(int one, int other) { return one > other ? one : other; }
SR_ANYWHERE constexpr int aligned16(int bytes) { return (bytes + 15) / 16 * 16; }

// A rectangle of pixels in shared memory.  kPlane, from one group to the next, is odd: the groups of a pixel, which a warp
// fills together, lie in other banks.
template <int rows, int columns> struct Area {
  static constexpr int kRows = rows, kColumns = columns, kPixels = rows * columns, kPlane = kPixels | 1;
  static constexpr int kFragments = (kPixels + 16 * kWarps - 1) / (16 * kWarps); // of a warp that computes it
};

// Where a block computes: image, first pixel of the tile, and which of the blocks that share the tile.
struct TilePlace {
  std::int64_t image;
  int y, x, out_block;
};

SR_CODE TilePlace place_of(std::int64_t index, int h, int w, int tile_rows, int tile_columns, int out_blocks) {
  const int across = (w + tile_columns - 1) / tile_columns, down = (h + tile_rows - 1) / tile_rows;
  TilePlace place;
  place.out_block = static_cast<int>(index % out_blocks);
  index /= out_blocks;
  place.x = static_cast<int>(index % across) * tile_columns;
  index /= across;
  place.y = static_cast<int>(index % down) * tile_rows;
  place.image = index / down;
  return place;
}

// Activations in global memory.
struct Source {
  const std::uint16_t *values;
  int h, w, groups;
};

// `groups` groups from first_group on of the area whose first pixel is (y0, x0) of the image; zero outside the image and
// beyond the last group.  where(pixel): which place of its plane a pixel of the area takes.
template <class Shape, class Where>
SR_CODE void fill_from_activations(Block &block, const Source &source, std::int64_t image, int y0, int x0,
                                   int first_group, int groups, std::uint16_t *tile, int plane, const Where &where) {
  block.for_each_thread([&](int thread) {
    for (int item = thread; item < Shape::kPixels * groups; item += kThreads) {
      const int pixel = item / groups, group = item - pixel * groups, from_group = first_group + group;
      const int y = y0 + pixel / Shape::kColumns, x = x0 + pixel % Shape::kColumns;
      const bool inside = y >= 0 && y < source.h && x >= 0 && x < source.w && from_group < source.groups;
      const std::int64_t at = ((image * source.h + y) * source.w + x) * source.groups + from_group;
      block.copy_async16(tile + (group * plane + where(pixel)) * 8, inside ? source.values + at * 8 : source.values,
                         inside);
    }
  });
}

// A frame's colours as one group: the colour as float16 in channels 0 to 2, what float16 leaves of it in 3 to 5 (whose
// weights are the same), so that float input is as good as 22 bits.  uint8 stays a whole number, which is exact.
template <class Shape>
SR_CODE void fill_from_frames(Block &block, const Frames &frames, int h, int w, std::int64_t image, int y0, int x0,
                              std::uint16_t *tile) {
  const auto *strides = frames.strides;
  block.for_each_thread([&](int thread) {
    for (int pixel = thread; pixel < Shape::kPixels; pixel += kThreads) {
      const int y = y0 + pixel / Shape::kColumns, x = x0 + pixel % Shape::kColumns;
      const bool inside = y >= 0 && y < h && x >= 0 && x < w;
      const std::int64_t at = image * strides[0] + y * strides[2] + x * strides[3];
      std::uint16_t *channels = tile + pixel * 8;
      SR_UNROLL
      for (int c = 0; c < 3; ++c) {
        float value = 0.0f;
        if (inside && frames.is_u8)
          value = static_cast<float>(static_cast<const std::uint8_t *>(frames.data)[at + c * strides[1]]);
        else if (inside)
          value = static_cast<const float *>(frames.data)[at + c * strides[1]];
        channels[c] = to_half(value);
        channels[3 + c] = to_half(value - to_float(channels[c]));
      }
      channels[6] = channels[7] = 0;
    }
  });
}

// Where the eight channels of (tap, group) number k lie relative to those of the pixel's own place; steps that only pad
// the last stage have zero weights and read the first entry's pixels.  of_tap(tap): the tap's place in the group.
template <class Place>
SR_CODE void make_table(Block &block, int groups, int taps, int plane, const Place &of_tap, int *table) {
  block.for_each_thread([&](int thread) {
    for (int k = thread; k < table_entries(groups, taps); k += kThreads) {
      const int tap = k / groups, group = k % groups;
      table[k] = tap < taps ? group * plane + of_tap(tap) : 0;
    }
  });
}

// The table of a 3x3 convolution over an area that is a pixel wider on each side.
template <class Shape> SR_CODE void make_table3(Block &block, int groups, int *table) {
  make_table(block, groups, 9, Shape::kPlane, [](int tap) { return tap / 3 * Shape::kColumns + tap % 3; }, table);
}

template <int tiles>
SR_CODE void fetch_stage(Block &block, const std::uint32_t *weights, int stage, std::uint32_t *ring) {
  constexpr int kPieces = kStageSteps * tiles * kStepWords / 4;
  const std::uint32_t *from = weights + static_cast<std::int64_t>(stage) * (kPieces * 4);
  std::uint32_t *slot = ring + stage % kSlots * (kPieces * 4);
  block.for_each_thread([&](int thread) {
    for (int piece = thread; piece < kPieces; piece += kThreads)
      block.copy_async16(slot + piece * 4, from + piece * 4, true);
  });
}

template <int fragments, int tiles> struct Sums {
  PerLane<C4> c[fragments][tiles];
};

template <int fragments, int tiles> SR_CODE void clear(Block &block, PerWarp<Sums<fragments, tiles>> &sums) {
  block.for_each_warp([&](int warp) {
    for_each_lane([&](int lane) {
      SR_UNROLL
      for (int i = 0; i < fragments; ++i) {
        SR_UNROLL
        for (int t = 0; t < tiles; ++t)
          sums[warp].c[i][t][lane] = C4{{0.0f, 0.0f, 0.0f, 0.0f}};
      }
    });
  });
}

// The first stages of a product on their way; what was copied before and not yet committed arrives with the first one.
template <int tiles>
SR_CODE void start_product(Block &block, const std::uint32_t *weights, int stages, std::uint32_t *ring) {
  for (int stage = 0; stage < kSlots - 1; ++stage) {
    if (stage < stages)
      fetch_stage<tiles>(block, weights, stage, ring);
    block.commit();
  }
}

// sums += the product, after start_product.  `tiles` tiles of a warp, of ring_tiles in the ring, from first_tile(warp) on.
// place(warp, i, lane): where row lane % 16 of the warp's fragment i begins in the tile, at the first tap.
// Nothing is copying when it returns, but warps may still read tile and ring: a sync must come before either is written.
template <int fragments, int tiles, int ring_tiles, class Place, class First>
SR_CODE void multiply(Block &block, const std::uint32_t *weights, int stages, const std::uint16_t *tile,
                      const int *table, std::uint32_t *ring, PerWarp<Sums<fragments, tiles>> &sums, const Place &place,
                      const First &first_tile) {
  constexpr int kSlotWords = kStageSteps * ring_tiles * kStepWords;
  for (int stage = 0; stage < stages; ++stage) {
    block.template wait<kSlots - 2>();
    block.sync(); // this stage has arrived for all, and all are done with the one whose slot comes next
    if (stage + kSlots - 1 < stages)
      fetch_stage<ring_tiles>(block, weights, stage + kSlots - 1, ring);
    block.commit();
    block.for_each_warp([&](int warp) {
      const std::uint32_t *slot = ring + stage % kSlots * kSlotWords + first_tile(warp) * kStepWords;
      const int *pairs = table + 2 * kStageSteps * stage;
      SR_UNROLL
      for (int step = 0; step < kStageSteps; ++step) {
        PerLane<A4> a[fragments];
        SR_UNROLL
        for (int i = 0; i < fragments; ++i)
          load_matrices(a[i], [&](int lane) { return tile + (place(warp, i, lane) + pairs[2 * step + lane / 16]) * 8; });
        SR_UNROLL
        for (int t = 0; t < tiles; ++t) {
          PerLane<B2> b;
          load_pair(b, slot + (step * ring_tiles + t) * kStepWords);
          SR_UNROLL
          for (int i = 0; i < fragments; ++i)
            multiply_add(sums[warp].c[i][t], a[i], b);
        }
      }
    });
  }
}

SR_CODE std::uint32_t pair_of(float first, float second) {
  return static_cast<std::uint32_t>(to_half(first)) | static_cast<std::uint32_t>(to_half(second)) << 16;
}

SR_CODE float positive(float value) { return value > 0.0f ? value : 0.0f; }

struct alignas(16) Group {
  std::uint32_t words[4];
};

} // namespace superres::kernels
