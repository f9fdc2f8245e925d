// Bands of rows: what each reads, keeps and writes.  Pure arithmetic; superres/inference/tiles.py is the same in Python.
#pragma once

#include "network.h"

namespace superres {

// What the arithmetic needs of a network.
struct BandGeometry {
  sr_network numbers;
  int halo_px, origin_multiple;
};

// The band whose rows are [first, first + rows) of a frame of `height`.  Throws Failure where they do not begin and end at
// multiples of origin_multiple (the frame's end excepted) within the frame.
sr_band band_of(const BandGeometry &geometry, std::int64_t height, std::int64_t first, std::int64_t rows);

// The most rows that a band of a frame of `height` may have and read no more than `read_rows`; 0 where even
// origin_multiple rows read more.
std::int64_t rows_of_band(const BandGeometry &geometry, std::int64_t height, std::int64_t read_rows);

} // namespace superres
