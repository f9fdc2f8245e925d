// A strict reader of JSON (RFC 8259), as much as the header of a weights file needs: whole documents, depth at most 32.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace superres {

struct Json {
  enum class Kind { null, boolean, number, string, array, object };
  Kind kind = Kind::null;
  bool boolean = false;
  double number = 0;
  std::string string;
  std::vector<Json> array;
  std::map<std::string, Json> object;

  // The member, or NULL where this is no object or has none of that name.
  const Json *find(const std::string &name) const {
    const auto found = object.find(name);
    return kind == Kind::object && found != object.end() ? &found->second : nullptr;
  }
};

// most_values: how many values the document may have, counting each array, object and what is in them, so that a short
// text does not fill the memory (a value takes some 150 bytes).
// Throws std::runtime_error that says where the text stops being JSON; a name given twice is refused too.
Json parse_json(std::string_view text, std::size_t most_values);

} // namespace superres
