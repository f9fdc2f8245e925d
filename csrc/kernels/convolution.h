// One 3x3 convolution with everything around it, by tensor cores: input from the caller's frames or from activations, bias,
// ReLU, residual, and a store as activations or, pixel-shuffled, as the fine picture.
//
// Activations are float16, [n][y][x][channel], channels padded to a multiple of 8 (a "group" is 8 channels, 16 bytes).
// Padded channels are zero: their weights and biases are, and the ReLU and the residual keep them so.  Hence the residual's
// missing channels need no care, and the network's zero-padded channel augmentation costs nothing.
//
// A block computes a tile of 16 x 32 pixels for 8 `tiles` output channels, as the product of a (pixels) x (9 taps x input
// channels) matrix and the weights.  A warp has two rows of the tile, as four rows of 16 pixels (the M of an mma).  The
// tile with its border lies in shared memory as [group][pixel][8 channels]: the eight rows that ldmatrix reads at a time
// are neighbouring pixels, 128 bytes without a bank conflict at every tap.  K runs over (tap, group) pairs, two to an mma,
// so that 40 channels need no padding to 48.  Weights are packed in the order in which lanes want them and come by cp.async
// through a ring of three slots of two steps.  More than 64 input channels come in chunks, one after the other; more
// output channels than `tiles` holds in other blocks.
//
// Bound: the tensor cores, from about 16 channels on.  Traffic per pixel: 1.2 times the input's channels, once the output's.
#pragma once

#include "../src/frames.h"
#include "shim.h"

namespace superres::kernels {

constexpr int kTileRows = 16, kTileColumns = 32, kTilePixels = kTileRows * kTileColumns;
constexpr int kReadRows = kTileRows + 2, kReadColumns = kTileColumns + 2, kReadPixels = kReadRows * kReadColumns;
constexpr int kPlane = kReadPixels + 1; // odd: the groups of a pixel, which a warp fills together, lie in other banks
constexpr int kMaxGroups = 8;           // of a chunk: with the ring 94 KB, so that a card with 99 KB can run it
constexpr int kSlots = 3, kStageSteps = 2;
constexpr int kRowsPerWarp = 4; // of 16 pixels
constexpr int kStepWords = 64;  // 32-bit words of weights that an mma takes

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

SR_ANYWHERE constexpr int stages_of(int chunk_groups) { return (9 * chunk_groups + 2 * kStageSteps - 1) / (2 * kStageSteps); }

// Pixels of the tile lie `staged_channels` apart where the epilogue gathers them: 16-byte rows, free of bank conflicts.
SR_ANYWHERE constexpr int staged_channels(int tiles) { return 8 * tiles + (tiles % 2 ? 0 : 8); }

SR_ANYWHERE constexpr int ring_bytes(int tiles) { return kSlots * kStageSteps * tiles * kStepWords * 4; }
SR_ANYWHERE constexpr int table_entries(int chunk_groups) { return 2 * kStageSteps * stages_of(chunk_groups); }

SR_ANYWHERE constexpr int shared_bytes(int tiles, int chunk_groups) {
  const int loop = chunk_groups * kPlane * 16 + ring_bytes(tiles) + table_entries(chunk_groups) * 4;
  const int epilogue = kTilePixels * staged_channels(tiles) * 2;
  return ((loop > epilogue ? loop : epilogue) + 15) / 16 * 16;
}

struct TilePlace {
  std::int64_t image;
  int y, x, out_block;
};

SR_CODE TilePlace place_of(std::int64_t index, const ConvolutionArguments &args) {
  const int across = (args.w + kTileColumns - 1) / kTileColumns, down = (args.h + kTileRows - 1) / kTileRows;
  TilePlace place;
  place.out_block = static_cast<int>(index % args.out_blocks);
  index /= args.out_blocks;
  place.x = static_cast<int>(index % across) * kTileColumns;
  index /= across;
  place.y = static_cast<int>(index % down) * kTileRows;
  place.image = index / down;
  return place;
}

// The chunk's groups of the tile and its border; zero outside the image and beyond the last group.
SR_CODE void fill_from_activations(Block &block, const ConvolutionArguments &args, const TilePlace &place, int chunk) {
  auto *tile = block.shared<std::uint16_t>(0);
  const int groups = args.chunk_groups;
  block.for_each_thread([&](int thread) {
    for (int item = thread; item < kReadPixels * groups; item += kThreads) {
      const int pixel = item / groups, group = item - pixel * groups, from_group = chunk * groups + group;
      const int y = place.y + pixel / kReadColumns - 1, x = place.x + pixel % kReadColumns - 1;
      const bool inside = y >= 0 && y < args.h && x >= 0 && x < args.w && from_group < args.in_groups;
      const std::int64_t at = ((place.image * args.h + y) * args.w + x) * args.in_groups + from_group;
      block.copy_async16(tile + (group * kPlane + pixel) * 8, inside ? args.in + at * 8 : args.in, inside);
    }
  });
}

// A frame's colours as one group: the colour as float16 in channels 0 to 2, what float16 leaves of it in 3 to 5 (whose
// weights are the same), so that float input is as good as 22 bits.  uint8 stays a whole number, which is exact.
SR_CODE void fill_from_frames(Block &block, const ConvolutionArguments &args, const TilePlace &place) {
  auto *tile = block.shared<std::uint16_t>(0);
  const auto *strides = args.frames.strides;
  block.for_each_thread([&](int thread) {
    for (int pixel = thread; pixel < kReadPixels; pixel += kThreads) {
      const int y = place.y + pixel / kReadColumns - 1, x = place.x + pixel % kReadColumns - 1;
      const bool inside = y >= 0 && y < args.h && x >= 0 && x < args.w;
      const std::int64_t at = place.image * strides[0] + y * strides[2] + x * strides[3];
      std::uint16_t *channels = tile + pixel * 8;
      SR_UNROLL
      for (int c = 0; c < 3; ++c) {
        float value = 0.0f;
        if (inside && args.frames.is_u8)
          value = static_cast<float>(static_cast<const std::uint8_t *>(args.frames.data)[at + c * strides[1]]);
        else if (inside)
          value = static_cast<const float *>(args.frames.data)[at + c * strides[1]];
        channels[c] = to_half(value);
        channels[3 + c] = to_half(value - to_float(channels[c]));
      }
      channels[6] = channels[7] = 0;
    }
  });
}

// Where the eight channels of (tap, group) number k lie relative to those of the tile's own pixel; steps that only pad the
// last stage have zero weights and read the first entry's pixels.
SR_CODE void make_table(Block &block, int chunk_groups, int *table) {
  block.for_each_thread([&](int thread) {
    for (int k = thread; k < table_entries(chunk_groups); k += kThreads) {
      const int tap = k / chunk_groups, group = k % chunk_groups;
      table[k] = tap < 9 ? group * kPlane + tap / 3 * kReadColumns + tap % 3 : 0;
    }
  });
}

template <int tiles>
SR_CODE void fetch_stage(Block &block, const ConvolutionArguments &args, std::int64_t stage, std::uint32_t *slot) {
  constexpr int kPieces = kStageSteps * tiles * kStepWords / 4;
  const std::uint32_t *from = args.weights + stage * (kPieces * 4);
  block.for_each_thread([&](int thread) {
    for (int piece = thread; piece < kPieces; piece += kThreads)
      block.copy_async16(slot + piece * 4, from + piece * 4, true);
  });
}

template <int tiles> struct Sums {
  PerLane<C4> c[kRowsPerWarp][tiles];
};

// The first pixel of a warp's row of 16, within the tile.
SR_CODE int row_of(int warp, int i) { return 2 * warp + i / 2; }
SR_CODE int column_of(int i) { return i % 2 * 16; }

template <int tiles>
SR_CODE void multiply_stage(const Block &block, int warp, const int *table, const std::uint32_t *slot,
                            Sums<tiles> &sums) {
  const auto *tile = block.shared<std::uint16_t>(0);
  SR_UNROLL
  for (int step = 0; step < kStageSteps; ++step) {
    PerLane<A4> a[kRowsPerWarp];
    SR_UNROLL
    for (int i = 0; i < kRowsPerWarp; ++i)
      load_matrices(a[i], [&](int lane) {
        const int pixel = row_of(warp, i) * kReadColumns + column_of(i) + lane % 16;
        return tile + (pixel + table[2 * step + lane / 16]) * 8;
      });
    SR_UNROLL
    for (int t = 0; t < tiles; ++t) {
      PerLane<B2> b;
      load_pair(b, slot + (step * tiles + t) * kStepWords);
      SR_UNROLL
      for (int i = 0; i < kRowsPerWarp; ++i)
        multiply_add(sums.c[i][t], a[i], b);
    }
  }
}

// The residual's part of the tile, into the places where the sums will be gathered.
template <int tiles>
SR_CODE void fetch_residual(Block &block, const ConvolutionArguments &args, const TilePlace &place) {
  auto *staged = block.shared<std::uint16_t>(0);
  block.for_each_thread([&](int thread) {
    for (int item = thread; item < kTilePixels * tiles; item += kThreads) {
      const int pixel = item / tiles, group = item % tiles, from_group = place.out_block * tiles + group;
      const int y = place.y + pixel / kTileColumns, x = place.x + pixel % kTileColumns;
      const bool inside = y < args.h && x < args.w && from_group < args.residual_groups;
      const std::int64_t at = ((place.image * args.h + y) * args.w + x) * args.residual_groups + from_group;
      block.copy_async16(staged + pixel * staged_channels(tiles) + group * 8,
                         inside ? args.residual + at * 8 : args.residual, inside);
    }
  });
  block.commit();
  block.template wait<0>();
  block.sync();
}

// Sums to float16 pixels: scale, bias, ReLU, residual.  A lane reads and writes its own places only.
template <int tiles>
SR_CODE void gather(const Block &block, const ConvolutionArguments &args, const TilePlace &place, int warp,
                    Sums<tiles> &sums) {
  auto *staged = block.shared<std::uint16_t>(0);
  for_each_lane([&](int lane) {
    SR_UNROLL
    for (int t = 0; t < tiles; ++t) {
      const int channel = 8 * t + 2 * (lane % 4);
      const float *bias = args.bias + place.out_block * tiles * 8 + channel;
      const float bias0 = bias[0], bias1 = bias[1];
      SR_UNROLL
      for (int i = 0; i < kRowsPerWarp; ++i) {
        SR_UNROLL
        for (int half = 0; half < 2; ++half) {
          const int pixel = row_of(warp, i) * kTileColumns + column_of(i) + lane / 4 + 8 * half;
          auto *pair = reinterpret_cast<std::uint32_t *>(staged + pixel * staged_channels(tiles) + channel);
          float first = sums.c[i][t][lane].r[2 * half] * args.scale + bias0;
          float second = sums.c[i][t][lane].r[2 * half + 1] * args.scale + bias1;
          if (args.relu) {
            first = first > 0.0f ? first : 0.0f;
            second = second > 0.0f ? second : 0.0f;
          }
          if (args.residual != nullptr) {
            first += to_float(static_cast<std::uint16_t>(*pair));
            second += to_float(static_cast<std::uint16_t>(*pair >> 16));
          }
          *pair = static_cast<std::uint32_t>(to_half(first)) | static_cast<std::uint32_t>(to_half(second)) << 16;
        }
      }
    }
  });
}

struct alignas(16) Group {
  std::uint32_t words[4];
};

template <int tiles>
SR_CODE void store_activations(const Block &block, const ConvolutionArguments &args, const TilePlace &place) {
  const auto *staged = block.shared<std::uint16_t>(0);
  block.for_each_thread([&](int thread) {
    for (int item = thread; item < kTilePixels * tiles; item += kThreads) {
      const int pixel = item / tiles, group = item % tiles, to_group = place.out_block * tiles + group;
      const int y = place.y + pixel / kTileColumns, x = place.x + pixel % kTileColumns;
      if (y >= args.h || x >= args.w || to_group >= args.out_groups)
        continue;
      const std::int64_t at = ((place.image * args.h + y) * args.w + x) * args.out_groups + to_group;
      *reinterpret_cast<Group *>(args.out + at * 8) =
          *reinterpret_cast<const Group *>(staged + pixel * staged_channels(tiles) + group * 8);
    }
  });
}

// Channel (c up + i) up + j of a pixel is row i, column j of its up x up fine pixels of colour c.  A warp writes a fine row
// of the tile at a time; where a block's channels begin or end within it, only its columns of them.
template <int tiles>
SR_CODE void store_shuffled(const Block &block, const ConvolutionArguments &args, const TilePlace &place) {
  const auto *staged = block.shared<std::uint16_t>(0);
  const int up = args.up, first = place.out_block * tiles * 8;
  const int end = first + tiles * 8 < 3 * up * up ? first + tiles * 8 : 3 * up * up;
  const int first_row = first / up, rows = (end + up - 1) / up - first_row;
  block.for_each_warp([&](int warp) {
    for (int item = warp; item < rows * kTileRows; item += kWarps) {
      const int fine_row = first_row + item / kTileRows, y = item % kTileRows;
      if (place.y + y >= args.h)
        continue;
      const int colour = fine_row / up, i = fine_row % up;
      const std::int64_t line = ((place.image * 3 + colour) * args.h + place.y + y) * up + i;
      std::uint16_t *to = args.out + (line * args.w + place.x) * up;
      const int columns = (args.w - place.x < kTileColumns ? args.w - place.x : kTileColumns) * up;
      for_each_lane([&](int lane) {
        int x = lane / up, j = lane % up;
        for (int fine = lane; fine < columns; fine += kLanes) {
          const int channel = fine_row * up + j;
          if (channel >= first && channel < end)
            to[fine] = staged[(y * kTileColumns + x) * staged_channels(tiles) + channel - first];
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
  const TilePlace place = place_of(block.index(), args);
  const int ring_at = args.chunk_groups * kPlane * 16;
  auto *ring = block.shared<std::uint32_t>(ring_at);
  auto *table = block.shared<int>(ring_at + ring_bytes(tiles));
  constexpr int kSlotWords = kStageSteps * tiles * kStepWords;
  const int stages = stages_of(args.chunk_groups);

  PerWarp<Sums<tiles>> sums;
  block.for_each_warp([&](int warp) {
    for_each_lane([&](int lane) {
      SR_UNROLL
      for (int i = 0; i < kRowsPerWarp; ++i) {
        SR_UNROLL
        for (int t = 0; t < tiles; ++t)
          sums[warp].c[i][t][lane] = C4{{0.0f, 0.0f, 0.0f, 0.0f}};
      }
    });
  });
  make_table(block, args.chunk_groups, table);

  for (int chunk = 0; chunk < args.chunks; ++chunk) {
    const std::int64_t first_stage = (static_cast<std::int64_t>(place.out_block) * args.chunks + chunk) * stages;
    if (chunk > 0)
      block.sync(); // the last chunk's tile and slots have been read
    if (args.in != nullptr)
      fill_from_activations(block, args, place, chunk);
    else
      fill_from_frames(block, args, place);
    for (int stage = 0; stage < kSlots - 1; ++stage) { // the tile belongs to the first of these commits
      if (stage < stages)
        fetch_stage<tiles>(block, args, first_stage + stage, ring + stage * kSlotWords);
      block.commit();
    }
    for (int stage = 0; stage < stages; ++stage) {
      block.template wait<kSlots - 2>();
      block.sync(); // this stage has arrived for all, and all are done with the one whose slot comes next
      const int next = stage + kSlots - 1;
      if (next < stages)
        fetch_stage<tiles>(block, args, first_stage + next, ring + next % kSlots * kSlotWords);
      block.commit();
      block.for_each_warp([&](int warp) {
        multiply_stage<tiles>(block, warp, table + 2 * kStageSteps * stage, ring + stage % kSlots * kSlotWords,
                              sums[warp]);
      });
    }
  }

  block.template wait<0>();
  block.sync();
  if (args.residual != nullptr)
    fetch_residual<tiles>(block, args, place);
  block.for_each_warp([&](int warp) { gather<tiles>(block, args, place, warp, sums[warp]); });
  block.sync();
  if (args.up > 0)
    store_shuffled<tiles>(block, args, place);
  else
    store_activations<tiles>(block, args, place);
}

} // namespace superres::kernels
