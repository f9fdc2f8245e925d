// One 3x3 convolution with everything around it, by tensor cores: input from the caller's frames or from activations, bias,
// ReLU, residual, and a store as activations or, pixel-shuffled, as the fine picture.  implicit_gemm.h says how.
//
// A block computes a tile of 16 x 32 pixels for 8 `tiles` output channels; a warp has two rows of the tile, as four
// fragments.  More than 64 input channels come in chunks, one after the other; more output channels than `tiles` holds in
// other blocks.
//
// Bound: the tensor cores, from about 16 channels on.  Traffic per pixel: 1.2 times the input's channels, once the output's.
#pragma once

#include "implicit_gemm.h"

namespace superres::kernels {

using Tile = Area<16, 32>;     // what a block computes
using TileRead = Area<18, 34>; // what a 3x3 convolution reads for it
constexpr int kMaxGroups = 8;  // of a chunk: with the ring 94 KB, so that a card with 99 KB can run it
static_assert(Tile::kFragments == 4, "two rows of a tile for each warp");

struct ConvolutionArguments {
  // Input: `in`, of in_groups groups, or the caller's frames where `in` is NULL.
  const std::uint16_t *in;
  Frames frames;
  std::int64_t n;
  int h, w, in_groups;
  int chunk_groups, chunks; // chunk_groups * chunks >= in_groups

  const std::uint32_t *weights; // as pack.h orders them
  const float *bias;            // for every output channel of every block
  float scale;                  // of the sums, before the bias: 1/255 for uint8 frames
  bool relu;
  int out_blocks; // blocks that share a tile, each for 8 tiles channels

  const std::uint16_t *residual; // added after the ReLU; NULL for none
  int residual_groups;

  std::uint16_t *out; // activations of out_groups groups, or the fine picture [n][3][up h][up w] where up > 0
  int out_groups, up;
};

// Pixels of the tile lie `staged_channels` apart where the epilogue gathers them: 16-byte rows, free of bank conflicts.
SR_ANYWHERE constexpr int staged_channels(int tiles) { return 8 * tiles + (tiles % 2 ? 0 : 8); }
SR_ANYWHERE constexpr int staged_bytes(int tiles) { return Tile::kPixels * staged_channels(tiles) * 2; }

SR_ANYWHERE constexpr int shared_bytes(int tiles, int chunk_groups) {
  return aligned16(larger(chunk_groups * TileRead::kPlane * 16 + ring_bytes(tiles) + table_entries(chunk_groups) * 4,
                          staged_bytes(tiles)));
}

// The residual's part of the tile, into the places where the sums will be gathered.
template <int tiles>
SR_CODE void fetch_residual(Block &block, const Source &residual, const TilePlace &place, std::uint16_t *staged) {
  block.for_each_thread([&](int thread) {
    for (int item = thread; item < Tile::kPixels * tiles; item += kThreads) {
      const int pixel = item / tiles, group = item % tiles, from_group = place.out_block * tiles + group;
      const int y = place.y + pixel / Tile::kColumns, x = place.x + pixel % Tile::kColumns;
      const bool inside = y < residual.h && x < residual.w && from_group < residual.groups;
      const std::int64_t at = ((place.image * residual.h + y) * residual.w + x) * residual.groups + from_group;
      block.copy_async16(staged + pixel * staged_channels(tiles) + group * 8,
                         inside ? residual.values + at * 8 : residual.values, inside);
    }
  });
  block.commit();
  block.template wait<0>();
  block.sync();
}

// Sums to float16 pixels: scale, bias, ReLU, and what is staged there already where `add`.  bias: of the block's first
// channel.  A lane reads and writes its own places only.
template <int tiles>
SR_CODE void gather(int warp, const Sums<Tile::kFragments, tiles> &sums, const float *biases, float scale, bool relu,
                    bool add, std::uint16_t *staged) {
  for_each_lane([&](int lane) {
    SR_UNROLL
    for (int t = 0; t < tiles; ++t) {
      const int channel = 8 * t + 2 * (lane % 4);
      const float bias0 = biases[channel], bias1 = biases[channel + 1];
      SR_UNROLL
      for (int i = 0; i < Tile::kFragments; ++i) {
        SR_UNROLL
        for (int half = 0; half < 2; ++half) {
          const int pixel = (warp * Tile::kFragments + i) * 16 + lane / 4 + 8 * half;
          auto *pair = reinterpret_cast<std::uint32_t *>(staged + pixel * staged_channels(tiles) + channel);
          float first = sums.c[i][t][lane].r[2 * half] * scale + bias0;
          float second = sums.c[i][t][lane].r[2 * half + 1] * scale + bias1;
          if (relu) {
            first = positive(first);
            second = positive(second);
          }
          if (add) {
            first += to_float(static_cast<std::uint16_t>(*pair));
            second += to_float(static_cast<std::uint16_t>(*pair >> 16));
          }
          *pair = pair_of(first, second);
        }
      }
    }
  });
}

// From where they were gathered to activations of out_groups groups.
template <int tiles>
SR_CODE void store_activations(const Block &block, const TilePlace &place, int h, int w, const std::uint16_t *staged,
                               std::uint16_t *out, int out_groups) {
  block.for_each_thread([&](int thread) {
    for (int item = thread; item < Tile::kPixels * tiles; item += kThreads) {
      const int pixel = item / tiles, group = item % tiles, to_group = place.out_block * tiles + group;
      const int y = place.y + pixel / Tile::kColumns, x = place.x + pixel % Tile::kColumns;
      if (y >= h || x >= w || to_group >= out_groups)
        continue;
      const std::int64_t at = ((place.image * h + y) * w + x) * out_groups + to_group;
      *reinterpret_cast<Group *>(out + at * 8) =
          *reinterpret_cast<const Group *>(staged + pixel * staged_channels(tiles) + group * 8);
    }
  });
}

// Channel (c up + i) up + j of a pixel is row i, column j of its up x up fine pixels of colour c.  A warp writes a fine row
// of the tile at a time; where a block's channels begin or end within it, only its columns of them.
template <int tiles>
SR_CODE void store_shuffled(const Block &block, const ConvolutionArguments &args, const TilePlace &place,
                            const std::uint16_t *staged) {
  const int up = args.up, first = place.out_block * tiles * 8;
  const int end = first + tiles * 8 < 3 * up * up ? first + tiles * 8 : 3 * up * up;
  const int first_row = first / up, rows = (end + up - 1) / up - first_row;
  block.for_each_warp([&](int warp) {
    for (int item = warp; item < rows * Tile::kRows; item += kWarps) {
      const int fine_row = first_row + item / Tile::kRows, y = item % Tile::kRows;
      if (place.y + y >= args.h)
        continue;
      const int colour = fine_row / up, i = fine_row % up;
      const std::int64_t line = ((place.image * 3 + colour) * args.h + place.y + y) * up + i;
      std::uint16_t *to = args.out + (line * args.w + place.x) * up;
      const int columns = (args.w - place.x < Tile::kColumns ? args.w - place.x : Tile::kColumns) * up;
      for_each_lane([&](int lane) {
        int x = lane / up, j = lane % up;
        for (int fine = lane; fine < columns; fine += kLanes) {
          const int channel = fine_row * up + j;
          if (channel >= first && channel < end)
            to[fine] = staged[(y * Tile::kColumns + x) * staged_channels(tiles) + channel - first];
          x += kLanes / up;
          j += kLanes % up;
          if (j >= up) {
            j -= up;
            ++x;
          }
        }
      });
    }
  });
}

// tiles: 8 output channels each; args.out_blocks blocks share a tile of pixels.
template <int tiles> SR_CODE void convolve(Block &block, const ConvolutionArguments &args) {
  const TilePlace place = place_of(block.index(), args.h, args.w, Tile::kRows, Tile::kColumns, args.out_blocks);
  const int ring_at = args.chunk_groups * TileRead::kPlane * 16;
  auto *tile = block.shared<std::uint16_t>(0);
  auto *ring = block.shared<std::uint32_t>(ring_at);
  auto *table = block.shared<int>(ring_at + ring_bytes(tiles));
  auto *staged = tile; // takes the place of what was read
  const int stages = stages_of(args.chunk_groups);
  const Source source{args.in, args.h, args.w, args.in_groups};

  PerWarp<Sums<Tile::kFragments, tiles>> sums;
  clear(block, sums);
  make_table3<TileRead>(block, args.chunk_groups, table);

  for (int chunk = 0; chunk < args.chunks; ++chunk) {
    const std::int64_t first_stage = (static_cast<std::int64_t>(place.out_block) * args.chunks + chunk) * stages;
    const std::uint32_t *weights = args.weights + first_stage * (kStageSteps * tiles * kStepWords);
    if (chunk > 0)
      block.sync(); // the last chunk's tile and slots have been read
    if (args.in != nullptr)
      fill_from_activations<TileRead>(block, source, place.image, place.y - 1, place.x - 1, chunk * args.chunk_groups,
                                      args.chunk_groups, tile, TileRead::kPlane, [](int pixel) { return pixel; });
    else
      fill_from_frames<TileRead>(block, args.frames, args.h, args.w, place.image, place.y - 1, place.x - 1, tile);
    start_product<tiles>(block, weights, stages, ring);
    multiply<Tile::kFragments, tiles, tiles>(
        block, weights, stages, tile, table, ring, sums,
        [](int warp, int i, int lane) {
          return (2 * warp + i / 2) * TileRead::kColumns + i % 2 * 16 + lane % 16;
        },
        [](int) { return 0; });
  }

  block.template wait<0>();
  block.sync();
  if (args.residual != nullptr)
    fetch_residual<tiles>(block, Source{args.residual, args.h, args.w, args.residual_groups}, place, staged);
  block.for_each_warp([&](int warp) {
    gather<tiles>(warp, sums[warp], args.bias + place.out_block * tiles * 8, args.scale, args.relu,
                  args.residual != nullptr, staged);
  });
  block.sync();
  if (args.up > 0)
    store_shuffled<tiles>(block, args, place, staged);
  else
    store_activations<tiles>(block, place, args.h, args.w, staged, args.out, args.out_groups);
}

} // namespace superres::kernels
