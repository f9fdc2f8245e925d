#include "weights_file.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <stdexcept>

#include "json.h"

namespace superres {
namespace {

constexpr std::uint64_t kLargestFile = std::uint64_t{1} << 30; // 256 channels and 32 blocks take 151 MB

[[noreturn]] void damaged(const std::string &path, const std::string &why) {
  throw Failure{SR_FILE_ERROR, "'" + path + "' is truncated or damaged: " + why};
}

std::string read_file(const std::string &path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file)
    throw Failure{SR_FILE_ERROR, "cannot read weights '" + path + "': no such file, or no right to read it"};
  const auto size = static_cast<std::streamoff>(file.tellg());
  if (size < 0 || static_cast<std::uint64_t>(size) > kLargestFile)
    damaged(path, "its size cannot be that of a weights file");
  std::string content(static_cast<std::size_t>(size), '\0');
  file.seekg(0);
  if (!file.read(content.data(), size))
    damaged(path, "it cannot be read to its end");
  return content;
}

// A whole number of the JSON, or SR_FILE_ERROR.
std::int64_t whole(const Json *value, const std::string &path, const std::string &name) {
  if (value == nullptr || value->kind != Json::Kind::number || value->number != std::floor(value->number) ||
      std::fabs(value->number) > 0x1p53)
    damaged(path, "'" + name + "' is no whole number");
  return static_cast<std::int64_t>(value->number);
}

std::int32_t option(const Json &options, const std::string &path, const char *name) {
  const auto value = whole(options.find(name), path, name);
  if (value < 0 || value > 1 << 20)
    throw Failure{SR_INVALID_ARGUMENT, std::string(name) + " is " + std::to_string(value) + ", which no network has"};
  return static_cast<std::int32_t>(value);
}

sr_network numbers_of(const Json &header, const std::string &path) {
  const Json *metadata = header.find("__metadata__");
  const Json *text = metadata ? metadata->find("superres") : nullptr;
  if (text == nullptr || text->kind != Json::Kind::string)
    throw Failure{SR_FILE_ERROR, "'" + path + "' is a safetensors file of another program: it has no superres metadata"};
  const Json record = parse_json(text->string);
  const Json *format = record.find("format"), *plugin = record.find("plugin"), *options = record.find("options");
  if (format == nullptr || format->string != "superres-weights" || options == nullptr)
    throw Failure{SR_FILE_ERROR, "'" + path + "' is no superres-weights file"};
  if (const auto version = whole(record.find("version"), path, "version"); version != 1)
    throw Failure{SR_FILE_ERROR,
                  "'" + path + "' has format version " + std::to_string(version) + "; this libsuperres reads 1"};
  if (plugin == nullptr || plugin->string != "rivenson2017")
    throw Failure{SR_NOT_SUPPORTED, "'" + path + "' holds weights of the model '" + (plugin ? plugin->string : "") +
                                        "'; libsuperres runs rivenson2017"};
  const Json *grow = options->find("grow"), *input_relu = options->find("input_relu");
  if (grow == nullptr || (grow->string != "first" && grow->string != "second") || input_relu == nullptr ||
      input_relu->kind != Json::Kind::boolean)
    damaged(path, "its options are incomplete");
  return {option(*options, path, "base_channels"),
          option(*options, path, "blocks"),
          option(*options, path, "alpha"),
          grow->string == "first",
          option(*options, path, "up"),
          option(*options, path, "down"),
          input_relu->boolean};
}

struct Entry {
  sr_tensor tensor{};
  std::vector<float> values;
};

Entry entry_of(const std::string &name, const Json &described, std::string_view data, const std::string &path) {
  const Json *type = described.find("dtype"), *shape = described.find("shape"), *range = described.find("data_offsets");
  if (type == nullptr || type->string != "F32")
    damaged(path, "tensor '" + name + "' has dtype '" + (type ? type->string : "") + "'; expected F32");
  if (shape == nullptr || shape->kind != Json::Kind::array || shape->array.size() > 4 || range == nullptr ||
      range->array.size() != 2)
    damaged(path, "tensor '" + name + "' is not described in full");
  Entry entry;
  entry.tensor.rank = static_cast<std::int32_t>(shape->array.size());
  std::uint64_t size = 1;
  for (std::size_t i = 0; i < shape->array.size(); ++i) {
    const auto extent = whole(&shape->array[i], path, name);
    if (extent < 0 || extent > (1 << 20) || (size *= static_cast<std::uint64_t>(extent)) > kLargestFile)
      damaged(path, "tensor '" + name + "' has an impossible shape");
    entry.tensor.shape[i] = extent;
  }
  const auto first = whole(&range->array[0], path, name), last = whole(&range->array[1], path, name);
  if (first < 0 || last < first || static_cast<std::uint64_t>(last) > data.size() ||
      static_cast<std::uint64_t>(last - first) != 4 * size)
    damaged(path, "tensor '" + name + "' lies outside the file, or its shape does not fit its bytes");
  entry.values.resize(static_cast<std::size_t>(size));
  if (size != 0)
    std::memcpy(entry.values.data(), data.data() + first, entry.values.size() * sizeof(float));
  return entry;
}

Network network_of(const std::string &content, const std::string &path) {
  if (content.size() < 8)
    damaged(path, "it has " + std::to_string(content.size()) + " bytes");
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < 8; ++i)
    length |= static_cast<std::uint64_t>(static_cast<unsigned char>(content[i])) << 8 * i;
  if (length > content.size() - 8)
    damaged(path, "its header is longer than the file");
  const std::string_view whole_file(content);
  const Json header = parse_json(whole_file.substr(8, static_cast<std::size_t>(length)));
  const std::string_view data = whole_file.substr(8 + static_cast<std::size_t>(length));
  const sr_network numbers = numbers_of(header, path);
  std::vector<std::string> names;
  std::vector<Entry> entries;
  for (const auto &[name, described] : header.object) {
    if (name == "__metadata__")
      continue;
    names.push_back(name);
    entries.push_back(entry_of(name, described, data, path));
  }
  std::vector<sr_tensor> tensors;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    tensors.push_back(entries[i].tensor);
    tensors.back().name = names[i].c_str();
    tensors.back().values = entries[i].values.data();
  }
  return make_network(numbers, tensors.data(), tensors.size());
}

} // namespace

Network read_network(const std::string &path) {
  const std::string content = read_file(path);
  try {
    return network_of(content, path);
  } catch (const std::runtime_error &error) { // what the JSON reader throws
    damaged(path, error.what());
  }
}

} // namespace superres
