// The network as a list of convolutions, and its weights after every check.
#pragma once

#include <string>
#include <vector>

#include "superres/superres.h"

namespace superres {

// Carries a status and a sentence to the C boundary, the only place that catches it.
struct Failure {
  sr_status status;
  std::string text;
};

// One convolution.  weight: (out, in, side, side).  bias: (out).
struct Layer {
  std::string name;
  int in = 0, out = 0;
  std::vector<float> weight, bias;
  int side = 3;
};

// layers: input, then first and second of each block, then expand, then output.
struct Network {
  sr_network numbers{};
  std::vector<int> channels; // A_0 .. A_K
  std::vector<Layer> layers;

  const Layer &input() const { return layers.front(); }
  const Layer &first(int block) const { return layers[1 + 2 * static_cast<std::size_t>(block)]; }
  const Layer &second(int block) const { return layers[2 + 2 * static_cast<std::size_t>(block)]; }
  const Layer &expand() const { return layers[layers.size() - 2]; }
  const Layer &output() const { return layers.back(); }
  int halo_px() const { return 2 * numbers.blocks + 3; }
  int origin_multiple() const;
};

// Rows `begin` to before `end` of an output are wanted; `begin` goes to the first row of the frames.
struct Rows {
  std::int64_t begin, end;
};

// ceil(up length / down)
inline std::int64_t scaled(std::int64_t length, const sr_network &numbers) {
  return (length * numbers.up + numbers.down - 1) / numbers.down;
}

// Check the numbers and every tensor, and copy the tensors.  Throws Failure.
Network make_network(const sr_network &numbers, const sr_tensor *tensors, std::size_t count);

} // namespace superres
