#include "pack.h"

#include <algorithm>
#include <cmath>

#include "../kernels/folded_tail.h"
#include "../kernels/residual_block.h"
#include "half.h"

namespace superres {
namespace {

constexpr int kMostTiles = 10;

// What a block may have on the cards with the least, sm_86, sm_89 and sm_120.
static_assert(kernels::shared_bytes(kMostTiles, kernels::kMaxGroups) <= 99 * 1024, "too much shared memory");

// Of a chunk of the folded tail: then two blocks of threads fit a multiprocessor of 128 KB or more.
constexpr int kFoldedGroups = 4;
static_assert(kernels::folded_shared_bytes(kMostTiles / 2, kFoldedGroups) <= 64 * 1024, "too much shared memory");

int divided_up(int value, int by) { return (value + by - 1) / by; }

int compiled_tiles(int wanted) {
  for (const int tiles : kTileCounts)
    if (tiles >= wanted)
      return tiles;
  return kMostTiles;
}

} // namespace

Packing packing_of(int in, int out) {
  Packing packing{};
  packing.in_groups = divided_up(in, 8);
  packing.out_groups = divided_up(out, 8);
  packing.chunks = divided_up(packing.in_groups, kernels::kMaxGroups);
  packing.chunk_groups = divided_up(packing.in_groups, packing.chunks);
  // Up to ten tiles in one block, so that the paper's sub-pixel layer (75 channels) reads its input once; beyond that, of
  // eight or fewer, evenly.
  packing.out_blocks = packing.out_groups <= kMostTiles ? 1 : divided_up(packing.out_groups, 8);
  packing.tiles = compiled_tiles(divided_up(packing.out_groups, packing.out_blocks));
  return packing;
}

Packing block_packing(int in, int out, int tiles) {
  const int in_groups = divided_up(in, 8);
  return {tiles, 1, in_groups, 1, in_groups, divided_up(out, 8)};
}

Packing folded_packing(int in, int out) {
  Packing packing{};
  packing.in_groups = divided_up(in, 8);
  packing.out_groups = divided_up(out, 8);
  packing.tiles = packing.out_groups <= 4 ? 4 : 10;
  packing.out_blocks = divided_up(packing.out_groups, packing.tiles);
  packing.chunks = divided_up(packing.in_groups, kFoldedGroups);
  packing.chunk_groups = divided_up(packing.in_groups, packing.chunks);
  return packing;
}

std::optional<BlockChoice> block_choice(bool from_frames, int in_groups, int middle_groups, int out_groups,
                                        int shared_limit) {
#define SR_SHAPE(frames, middle, out) BlockShape{frames, middle, out},
  constexpr BlockShape kShapes[] = {SR_BLOCK_KERNELS(SR_SHAPE)};
#undef SR_SHAPE
  for (const auto &shape : kShapes) {
    if (shape.from_frames != from_frames || shape.middle_tiles < middle_groups || shape.out_tiles < out_groups ||
        (from_frames && shape.middle_tiles < in_groups))
      continue;
    const int bytes =
        kernels::block_layout(from_frames, shape.middle_tiles, shape.out_tiles, in_groups, middle_groups).total;
    if (bytes <= shared_limit)
      return BlockChoice{shape, bytes};
    return std::nullopt; // the others take more
  }
  return std::nullopt;
}

float gain_for(const std::vector<float> &weights) {
  float largest = 0.0f;
  for (const float each : weights)
    largest = std::max(largest, std::fabs(each));
  int exponent = 0;
  std::frexp(largest, &exponent); // largest < 2^exponent
  return largest > 0.0f ? std::ldexp(1.0f, std::clamp(10 - exponent, -60, 60)) : 1.0f;
}

std::vector<std::uint32_t> packed_weights(const Layer &layer, const Packing &packing, bool colours_twice, float gain) {
  const int taps = layer.side * layer.side;
  const auto value = [&](int out, int in, int tap) {
    if (colours_twice && in >= 3 && in < 6)
      in -= 3;
    if (out >= layer.out || in >= layer.in)
      return std::uint32_t{0};
    const auto at = (static_cast<std::size_t>(out) * static_cast<std::size_t>(layer.in) + static_cast<std::size_t>(in)) *
                        static_cast<std::size_t>(taps) + static_cast<std::size_t>(tap);
    return static_cast<std::uint32_t>(half_of_float(layer.weight[at] * gain));
  };
  const int steps = kernels::stages_of(packing.chunk_groups, taps) * kernels::kStageSteps;
  std::vector<std::uint32_t> words;
  words.reserve(static_cast<std::size_t>(packing.out_blocks) * static_cast<std::size_t>(packing.chunks * steps) *
                static_cast<std::size_t>(packing.tiles * kernels::kStepWords));
  for (int block = 0; block < packing.out_blocks; ++block)
    for (int chunk = 0; chunk < packing.chunks; ++chunk)
      for (int step = 0; step < steps; ++step)
        for (int tile = 0; tile < packing.tiles; ++tile)
          for (int lane = 0; lane < kernels::kLanes; ++lane)
            for (int word = 0; word < 2; ++word) {
              const int pair = 2 * step + word, tap = pair / packing.chunk_groups;
              const int out = (block * packing.tiles + tile) * 8 + lane / 4;
              const int in = (chunk * packing.chunk_groups + pair % packing.chunk_groups) * 8 + 2 * (lane % 4);
              words.push_back(tap < taps ? value(out, in, tap) | value(out, in + 1, tap) << 16 : 0);
            }
  return words;
}

std::vector<float> packed_bias(const Layer &layer, const Packing &packing) {
  std::vector<float> bias(layer.bias);
  bias.resize(static_cast<std::size_t>(packing.out_blocks) * static_cast<std::size_t>(packing.tiles) * 8, 0.0f);
  return bias;
}

} // namespace superres
