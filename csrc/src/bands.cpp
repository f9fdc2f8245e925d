#include "bands.h"

#include <algorithm>
#include <limits>

namespace superres {
namespace {

constexpr std::int64_t kTallest = std::numeric_limits<std::int64_t>::max() / 16; // scaled() multiplies by 8 at most

} // namespace

sr_band band_of(const BandGeometry &geometry, std::int64_t height, std::int64_t first, std::int64_t rows) {
  const std::int64_t multiple = geometry.origin_multiple;
  // Compared without sums, which might overflow.
  const bool lies_within = height >= 1 && height <= kTallest && first >= 0 && rows >= 1 && rows <= height &&
                           first <= height - rows;
  const std::int64_t end = lies_within ? first + rows : 0;
  if (!lies_within || first % multiple != 0 || (end % multiple != 0 && end != height))
    throw Failure{SR_INVALID_ARGUMENT, "the band has " + std::to_string(rows) + " rows from " + std::to_string(first) +
                                           " on, of " + std::to_string(height) + "; expected multiples of " +
                                           std::to_string(multiple) + " within the frame, or its end"};
  sr_band band{};
  band.read_first = std::max<std::int64_t>(0, first - geometry.halo_px) / multiple * multiple;
  band.read_rows = std::min(height, end + geometry.halo_px) - band.read_first;
  band.out_first = scaled(first, geometry.numbers);
  band.out_rows = scaled(end, geometry.numbers) - band.out_first;
  band.skip_rows = band.out_first - scaled(band.read_first, geometry.numbers);
  return band;
}

std::int64_t rows_of_band(const BandGeometry &geometry, std::int64_t height, std::int64_t read_rows) {
  if (read_rows >= height)
    return height;
  // A band's first row lies up to origin_multiple - 1 rows further from what it reads than the halo.
  const std::int64_t multiple = geometry.origin_multiple;
  const std::int64_t rows = read_rows - 2 * geometry.halo_px - (multiple - 1);
  return std::max<std::int64_t>(0, rows / multiple * multiple);
}

} // namespace superres
