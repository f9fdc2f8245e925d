// Images of the caller: strided, uint8 or float32, three channels.
#pragma once

#include <cstdint>

namespace superres {

// strides in elements: n, channel, y, x.  is_u8: 255 is white and the output is clamped and rounded half to even.
struct Frames {
  void *data;
  std::int64_t strides[4];
  bool is_u8;
};

} // namespace superres
