// What the files of the C API share: the model behind the handle, and failures as statuses.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <variant>

#include "bands.h"
#include "cpu_forward.h"
#include "device_forward.h"

struct sr_model {
  superres::BandGeometry geometry;
  std::variant<std::unique_ptr<superres::CpuForward>, std::unique_ptr<superres::DeviceForward>> forward;
  std::string description;
};

namespace superres {

constexpr std::int64_t kLongestSide = 1 << 24; // at most 2^27 fine pixels a side

// Allocates nothing: there may be no memory, and an exception from here would leave the library.
inline sr_status report(sr_status status, std::string_view text, sr_message *message) noexcept {
  if (message != nullptr) {
    auto length = std::min(text.size(), sizeof message->text - 1);
    // Cut before a character of UTF-8, not inside it: its further bytes are 10xxxxxx.
    if (length < text.size())
      while (length > 0 && (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80)
        --length;
    std::memcpy(message->text, text.data(), length);
    message->text[length] = '\0';
  }
  return status;
}

// Run, and turn whatever is thrown into a status and a message.
template <class Call> sr_status guarded(sr_message *message, const Call &call) noexcept {
  try {
    call();
    if (message != nullptr)
      message->text[0] = '\0';
    return SR_OK;
  } catch (const Failure &failure) {
    return report(failure.status, failure.text, message);
  } catch (const std::bad_alloc &) {
    return report(SR_OUT_OF_MEMORY, "not enough memory", message);
  } catch (const std::exception &error) {
    return report(SR_INVALID_ARGUMENT, error.what(), message);
  }
}

inline void require(bool holds, const std::string &text) {
  if (!holds)
    throw Failure{SR_INVALID_ARGUMENT, text};
}

} // namespace superres
