// Weights in the order in which the kernels of csrc/kernels/convolution.h read them.
#pragma once

#include <cstdint>
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

// weights: [out block][chunk][stage][step][tile][lane][2] 32-bit words of two float16, as mma.m16n8k16 wants its B:
// lane l, word r holds the two k's 8 r + 2 (l % 4) and the next, of output channel l / 4 of the tile.  k runs over the
// (tap, group) pairs of the chunk, group fastest, eight channels each.  What is no channel is zero.
// colours_twice: input channels 3 to 5 repeat 0 to 2 (see fill_from_frames).
std::vector<std::uint32_t> packed_weights(const Layer &layer, const Packing &packing, bool colours_twice);

// One bias for each channel of each tile; zero for what is no channel.
std::vector<float> packed_bias(const Layer &layer, const Packing &packing);

} // namespace superres
