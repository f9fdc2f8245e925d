// SHA-256 (FIPS 180-4), for the digest in a weights file.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace superres {

class Sha256 {
public:
  void add(const void *bytes, std::size_t count);
  // Of all that was added, as 64 lower-case hexadecimal digits.  Nothing may be added afterwards.
  std::string hexadecimal();

private:
  void compress(const unsigned char *block);

  std::array<std::uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<unsigned char, 64> waiting_{};
  std::uint64_t count_ = 0;
};

} // namespace superres
