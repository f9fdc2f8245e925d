// IEEE binary16 on the host: what packs weights, and what the host form of the kernels computes with.
#pragma once

#include <cstdint>
#include <cstring>

namespace superres {

constexpr float kLargestHalf = 65504.0f;

inline float float_of_bits(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline std::uint32_t bits_of_float(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float float_of_half(std::uint16_t half) {
  // Exponent and mantissa move into place as a float 2^112 too small; the product is exact, for subnormals too.
  const std::uint32_t magnitude = static_cast<std::uint32_t>(half & 0x7fffu) << 13;
  std::uint32_t bits = bits_of_float(float_of_bits(magnitude) * 0x1p112f);
  if (magnitude >= 0x0f800000u)
    bits = magnitude | 0x7f800000u; // infinity and NaN
  return float_of_bits(bits | static_cast<std::uint32_t>(half & 0x8000u) << 16);
}

// Round to nearest, ties to even; beyond the range to infinity.
inline std::uint16_t half_of_float(float value) {
  const std::uint32_t bits = bits_of_float(value), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u)
    return static_cast<std::uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u)
    return static_cast<std::uint16_t>(sign | 0x7c00u);
  if (magnitude < 0x38800000u) {
    // Subnormal halves: adding 0.5 leaves the rounded multiple of 2^-24 in the low bits of the sum.
    const float sum = float_of_bits(magnitude) + 0.5f;
    return static_cast<std::uint16_t>(sign | (bits_of_float(sum) - 0x3f000000u));
  }
  const std::uint32_t odd = magnitude >> 13 & 1u;
  return static_cast<std::uint16_t>(sign | (magnitude - 0x38000000u + 0xfffu + odd) >> 13);
}

} // namespace superres
