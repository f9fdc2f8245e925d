// The last two layers of the network as one.  Between the convolution to 3 up^2 channels, the pixel shuffle and the strided
// convolution 3 to 3 nothing bends: they are one linear map of the features.  Every m x m coarse pixels, m = down / gcd(up,
// down), it makes s x s output pixels, s = up / gcd(up, down), by a convolution with stride m to 3 s^2 channels.
// superres/inference/folded_tail.py is the same in PyTorch.
#pragma once

#include <vector>

#include "network.h"

namespace superres {

struct Fold {
  int stride, shuffle; // m, s
  int before, side;    // coarse pixels before a block's first that it depends on; of the convolution
};

Fold fold_of(const sr_network &numbers);

// Whether the folded form needs fewer multiply-adds: so for 5/2, not for 1/1.
bool is_worth_folding(const Network &network);

// The map inside: (3 s^2, C, side, side), channel (c s + i) s + j.
Layer folded_layer(const Network &network);

// The maps of every kind of row and of column: phases 0 .. s - 1, then the first one, the last one, and one that is both,
// whose output convolution reads zeros beyond the fine picture.
// weight: [row kind][column kind][colour][side][side][channels rounded up to 8].  bias: [row kind][column kind][colour].
struct BorderMaps {
  std::vector<float> weight, bias;
};
BorderMaps border_maps(const Network &network);

// Whether the last of `length` coarse pixels' outputs reads beyond the fine picture.
bool last_is_special(std::int64_t length, const sr_network &numbers);

} // namespace superres
