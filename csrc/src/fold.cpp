#include "fold.h"

#include <numeric>

namespace superres {
namespace {

// One axis of one output pixel: which fine pixels its taps read.  A tap that reads beyond the picture is left out.
struct Kind {
  int phase;
  bool drops_first, drops_last;
};

std::vector<Kind> kinds_of(const sr_network &numbers) {
  const auto fold = fold_of(numbers);
  std::vector<Kind> kinds;
  for (int phase = 0; phase < fold.shuffle; ++phase)
    kinds.push_back({phase, false, false});
  // The last pixel is special where its middle tap reads the last fine pixel: down phase = -1 modulo up.
  int last = 0;
  for (int phase = 0; phase < fold.shuffle; ++phase)
    if ((numbers.down * phase + 1) % numbers.up == 0)
      last = phase;
  kinds.push_back({0, true, false});
  kinds.push_back({last, false, true});
  kinds.push_back({0, true, true});
  return kinds;
}

// Fine pixel number `at` of a block, from -1 on, as a coarse pixel of the block and a place in it.
void split(int at, int up, int &coarse, int &within) {
  coarse = at < 0 ? -1 : at / up;
  within = at - coarse * up;
}

// Adds the map of one output pixel to weights [colour][side][side][channels] and biases [colour], both float64.
void add_map(const Network &network, const Kind &row, const Kind &column, double *weight, double *bias) {
  const auto fold = fold_of(network.numbers);
  const auto &first = network.expand(), &second = network.output();
  const int up = network.numbers.up, down = network.numbers.down, channels = first.in;
  const auto size = [](int value) { return static_cast<std::size_t>(value); };
  for (int out = 0; out < 3; ++out) {
    bias[out] += static_cast<double>(second.bias[size(out)]);
    for (int tap = 0; tap < 9; ++tap) {
      const int tap_y = tap / 3, tap_x = tap % 3;
      if ((row.drops_first && tap_y == 0) || (row.drops_last && tap_y == 2) || (column.drops_first && tap_x == 0) ||
          (column.drops_last && tap_x == 2))
        continue;
      int y, i, x, j;
      split(down * row.phase + tap_y - 1, up, y, i);
      split(down * column.phase + tap_x - 1, up, x, j);
      for (int colour = 0; colour < 3; ++colour) {
        const double factor = static_cast<double>(second.weight[size((out * 3 + colour) * 9 + tap)]);
        const int channel = (colour * up + i) * up + j;
        bias[out] += factor * static_cast<double>(first.bias[size(channel)]);
        for (int in = 0; in < channels; ++in)
          for (int inner = 0; inner < 9; ++inner) {
            const int yy = y + fold.before - 1 + inner / 3, xx = x + fold.before - 1 + inner % 3;
            const auto to = ((size(out) * size(fold.side) + size(yy)) * size(fold.side) + size(xx)) * size(channels);
            const auto from = (size(channel) * size(channels) + size(in)) * 9 + size(inner);
            weight[to + size(in)] += factor * static_cast<double>(first.weight[from]);
          }
      }
    }
  }
}

} // namespace

Fold fold_of(const sr_network &numbers) {
  const int divisor = std::gcd(numbers.up, numbers.down);
  Fold fold{numbers.down / divisor, numbers.up / divisor, 2, 0}; // fine pixel -1 lies in coarse pixel -1, and one more
  const int last = numbers.down * (fold.shuffle - 1) + 1;        // the last fine pixel that the block's last output reads
  fold.side = fold.before + last / numbers.up + 2;
  return fold;
}

bool is_worth_folding(const Network &network) {
  const auto fold = fold_of(network.numbers);
  const double up = network.numbers.up, down = network.numbers.down, channels = network.expand().in;
  const double side = fold.shuffle * fold.side;
  const double folded = channels * 3 * side * side / (fold.stride * fold.stride);
  return folded < channels * 27 * up * up + 81 * (up / down) * (up / down);
}

Layer folded_layer(const Network &network) {
  const auto fold = fold_of(network.numbers);
  const auto kinds = kinds_of(network.numbers);
  const auto s = static_cast<std::size_t>(fold.shuffle), side = static_cast<std::size_t>(fold.side);
  const auto channels = static_cast<std::size_t>(network.expand().in);
  Layer layer{"folded tail", network.expand().in, 3 * fold.shuffle * fold.shuffle, {}, {}};
  layer.side = fold.side;
  layer.weight.resize(3 * s * s * channels * side * side);
  layer.bias.resize(3 * s * s);
  for (std::size_t i = 0; i < s; ++i)
    for (std::size_t j = 0; j < s; ++j) {
      std::vector<double> weight(3 * side * side * channels), bias(3);
      add_map(network, kinds[i], kinds[j], weight.data(), bias.data());
      for (std::size_t colour = 0; colour < 3; ++colour) {
        const std::size_t out = (colour * s + i) * s + j;
        layer.bias[out] = static_cast<float>(bias[colour]);
        for (std::size_t tap = 0; tap < side * side; ++tap)
          for (std::size_t in = 0; in < channels; ++in)
            layer.weight[(out * channels + in) * side * side + tap] =
                static_cast<float>(weight[(colour * side * side + tap) * channels + in]);
      }
    }
  return layer;
}

BorderMaps border_maps(const Network &network) {
  const auto kinds = kinds_of(network.numbers);
  const auto side = static_cast<std::size_t>(fold_of(network.numbers).side);
  const auto channels = static_cast<std::size_t>(network.expand().in), padded = (channels + 7) / 8 * 8;
  BorderMaps maps;
  for (const auto &row : kinds)
    for (const auto &column : kinds) {
      std::vector<double> weight(3 * side * side * channels), bias(3);
      add_map(network, row, column, weight.data(), bias.data());
      for (const double each : bias)
        maps.bias.push_back(static_cast<float>(each));
      for (std::size_t at = 0; at < 3 * side * side; ++at) {
        for (std::size_t in = 0; in < channels; ++in)
          maps.weight.push_back(static_cast<float>(weight[at * channels + in]));
        maps.weight.insert(maps.weight.end(), padded - channels, 0.0f);
      }
    }
  return maps;
}

bool last_is_special(std::int64_t length, const sr_network &numbers) {
  return (length * numbers.up - 1) % numbers.down == 0;
}

} // namespace superres
