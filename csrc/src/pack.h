// Weights in the order in which the kernels read them, and which kernel takes which layer.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "network.h"

namespace superres {

// One convolution, cut to fit the kernel: `out_blocks` blocks of `tiles` tiles of 8 output channels, and `chunks` chunks of
// `chunk_groups` groups of 8 input channels.
struct Packing {
  int tiles, out_blocks, chunk_groups, chunks;
  int in_groups, out_groups;
};

// The numbers of tiles that kernels are compiled for; others are rounded up.
constexpr int kTileCounts[] = {1, 2, 4, 5, 6, 7, 8, 10};

Packing packing_of(int in, int out);

// For kernels/residual_block.h: all in one block of `tiles` tiles and one chunk.
Packing block_packing(int in, int out, int tiles);

// For kernels/folded_tail.h: tiles of a block, twice those of its kernel.
Packing folded_packing(int in, int out);

// One of the kernels that SR_BLOCK_KERNELS names.
struct BlockShape {
  bool from_frames;
  int middle_tiles, out_tiles;
};

// The kernel for a residual block of these groups of channels, and the bytes of shared memory that it takes; nothing where
// none has tiles enough or shared_limit is exceeded.
struct BlockChoice {
  BlockShape shape;
  int shared_bytes;
};
std::optional<BlockChoice> block_choice(bool from_frames, int in_groups, int middle_groups, int out_groups,
                                        int shared_limit);

// A power of two by which weights are multiplied before they become float16, so that the largest lies below 1024 and the
// small ones keep their digits: folded weights are products.
float gain_for(const std::vector<float> &weights);

// weights: [out block][chunk][stage][step][tile][lane][2] 32-bit words of two float16, as mma.m16n8k16 wants its B:
// lane l, word r holds the two k's 8 r + 2 (l % 4) and the next, of output channel l / 4 of the tile.  k runs over the
// (tap, group) pairs of the chunk, group fastest, eight channels each.  What is no channel is zero.
// colours_twice: input channels 3 to 5 repeat 0 to 2 (see fill_from_frames).  gain: of every weight.
std::vector<std::uint32_t> packed_weights(const Layer &layer, const Packing &packing, bool colours_twice,
                                          float gain = 1.0f);

// One bias for each channel of each tile; zero for what is no channel.
std::vector<float> packed_bias(const Layer &layer, const Packing &packing);

} // namespace superres
