#include "pack.h"

#include "../kernels/convolution.h"
#include "half.h"

namespace superres {
namespace {

constexpr int kMostTiles = 10;

// What a block may have on the cards with the least, sm_86, sm_89 and sm_120.
static_assert(kernels::shared_bytes(kMostTiles, kernels::kMaxGroups) <= 99 * 1024, "too much shared memory");

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

std::vector<std::uint32_t> packed_weights(const Layer &layer, const Packing &packing, bool colours_twice) {
  const auto value = [&](int out, int in, int tap) {
    if (colours_twice && in >= 3 && in < 6)
      in -= 3;
    if (out >= layer.out || in >= layer.in)
      return std::uint32_t{0};
    const auto at = (static_cast<std::size_t>(out) * static_cast<std::size_t>(layer.in) + static_cast<std::size_t>(in)) * 9;
    return static_cast<std::uint32_t>(half_of_float(layer.weight[at + static_cast<std::size_t>(tap)]));
  };
  const int steps = kernels::stages_of(packing.chunk_groups) * kernels::kStageSteps;
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
              words.push_back(tap < 9 ? value(out, in, tap) | value(out, in + 1, tap) << 16 : 0);
            }
  return words;
}

std::vector<float> packed_bias(const Layer &layer, const Packing &packing) {
  std::vector<float> bias(layer.bias);
  bias.resize(static_cast<std::size_t>(packing.out_blocks) * static_cast<std::size_t>(packing.tiles) * 8, 0.0f);
  return bias;
}

} // namespace superres
