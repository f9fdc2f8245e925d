#include "weights_file.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <stdexcept>
#include <utility>

#include "json.h"
#include "sha256.h"

namespace superres {
namespace {

// What one file can make this program hold, whatever it says: 256 channels and 32 blocks take 151 MB, and a header of
// superres some tens of kB.
constexpr std::uint64_t kLargestData = std::uint64_t{1} << 28, kLargestHeader = std::uint64_t{1} << 24;
constexpr std::size_t kMostValues = std::size_t{1} << 18; // of a header's JSON, each of which takes some 150 bytes

[[noreturn]] void damaged(const std::string &path, const std::string &why) {
  throw Failure{SR_FILE_ERROR, "'" + path + "' is truncated or damaged: " + why};
}

// The file as it lies there: 8 bytes of length, a header of so many, and data to the end.
class File {
public:
  explicit File(const std::string &path) : path_(path), file_(path, std::ios::binary | std::ios::ate) {
    if (!file_)
      throw Failure{SR_FILE_ERROR, "cannot read weights '" + path + "': no such file, or no right to read it"};
    const auto size = static_cast<std::streamoff>(file_.tellg());
    file_.seekg(0);
    if (size < 0 || static_cast<std::uint64_t>(size) > 8 + kLargestHeader + kLargestData)
      damaged(path, "its size cannot be that of a weights file");
    left_ = static_cast<std::uint64_t>(size);
  }
  std::uint64_t left() const { return left_; }
  std::string read(std::uint64_t count) {
    std::string content(static_cast<std::size_t>(count), '\0');
    if (!file_.read(content.data(), static_cast<std::streamsize>(count)))
      damaged(path_, "it cannot be read to its end");
    left_ -= count;
    return content;
  }

private:
  const std::string &path_;
  std::ifstream file_;
  std::uint64_t left_ = 0;
};

Json header_of(File &file, const std::string &path) {
  if (file.left() < 8)
    damaged(path, "it has " + std::to_string(file.left()) + " bytes");
  std::uint64_t length = 0;
  const std::string digits = file.read(8);
  for (std::size_t i = 0; i < 8; ++i)
    length |= static_cast<std::uint64_t>(static_cast<unsigned char>(digits[i])) << 8 * i;
  if (length > file.left())
    damaged(path, "its header is longer than the file");
  if (length > kLargestHeader)
    damaged(path, "its header has " + std::to_string(length) + " bytes; expected at most " +
                      std::to_string(kLargestHeader));
  const std::string text = file.read(length);
  return parse_json(text, kMostValues);
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

// What superres wrote about the tensors, which is JSON in a string of the header's JSON.
Json record_of(const Json &header, const std::string &path) {
  const Json *metadata = header.find("__metadata__");
  const Json *text = metadata ? metadata->find("superres") : nullptr;
  if (text == nullptr || text->kind != Json::Kind::string)
    throw Failure{SR_FILE_ERROR, "'" + path + "' is a safetensors file of another program: it has no superres metadata"};
  return parse_json(text->string, kMostValues);
}

sr_network numbers_of(const Json &record, const std::string &path) {
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

// A tensor as the header describes it.  first, last: its bytes, from where the data begin.
struct Entry {
  std::string name;
  std::vector<std::int64_t> shape;
  std::uint64_t first = 0, last = 0;
};

Entry entry_of(const std::string &name, const Json &described, const std::string &path) {
  const Json *type = described.find("dtype"), *shape = described.find("shape"), *range = described.find("data_offsets");
  if (type == nullptr || type->string != "F32")
    damaged(path, "tensor '" + name + "' has dtype '" + (type ? type->string : "") + "'; expected F32");
  if (shape == nullptr || shape->kind != Json::Kind::array || shape->array.size() > 4 || range == nullptr ||
      range->array.size() != 2)
    damaged(path, "tensor '" + name + "' is not described in full");
  Entry entry{name, {}, 0, 0};
  std::uint64_t size = 4;
  for (const auto &extent : shape->array) {
    entry.shape.push_back(whole(&extent, path, name));
    if (entry.shape.back() < 0 || entry.shape.back() > 1 << 20 ||
        (size *= static_cast<std::uint64_t>(entry.shape.back())) > kLargestData)
      damaged(path, "tensor '" + name + "' has an impossible shape");
  }
  const auto first = whole(&range->array[0], path, name), last = whole(&range->array[1], path, name);
  if (first < 0 || last < first || static_cast<std::uint64_t>(last - first) != size)
    damaged(path, "the shape of tensor '" + name + "' does not fit its bytes");
  entry.first = static_cast<std::uint64_t>(first);
  entry.last = static_cast<std::uint64_t>(last);
  return entry;
}

// In the order of their names.  Together they are the data, each byte of it once, as the format demands: so nothing
// hides between them or behind them, and no byte is held twice.
std::vector<Entry> entries_of(const Json &header, std::uint64_t data_bytes, const std::string &path) {
  std::vector<Entry> entries;
  for (const auto &[name, described] : header.object)
    if (name != "__metadata__")
      entries.push_back(entry_of(name, described, path));
  std::vector<const Entry *> placed;
  for (const auto &entry : entries)
    placed.push_back(&entry);
  std::sort(placed.begin(), placed.end(), [](const Entry *a, const Entry *b) {
    return std::pair(a->first, a->last) < std::pair(b->first, b->last);
  });
  std::uint64_t end = 0;
  for (const Entry *entry : placed) {
    if (entry->last > data_bytes)
      damaged(path, "tensor '" + entry->name + "' lies outside the file");
    if (entry->first != end)
      damaged(path, "tensor '" + entry->name + "' begins at byte " + std::to_string(entry->first) +
                        " of the data; expected " + std::to_string(end) + ", where the tensor before it ends");
    end = entry->last;
  }
  if (end != data_bytes)
    damaged(path, std::to_string(data_bytes - end) + " bytes follow the last tensor");
  return entries;
}

// As superres.io.weights.tensors_digest has it: names, dtypes, shapes and values, in the order of the names.
std::string digest_of(const std::vector<Entry> &entries, const std::string &data) {
  Sha256 digest;
  for (const auto &entry : entries) {
    std::string line = entry.name + " <f4 (";
    for (std::size_t i = 0; i < entry.shape.size(); ++i)
      line += (i ? " " : "") + std::to_string(entry.shape[i]) + (i + 1 < entry.shape.size() || i == 0 ? "," : "");
    line += ")\n";
    digest.add(line.data(), line.size());
    digest.add(data.data() + entry.first, static_cast<std::size_t>(entry.last - entry.first));
  }
  return digest.hexadecimal();
}

Network network_of(File &file, const std::string &path) {
  const Json header = header_of(file, path), record = record_of(header, path);
  const sr_network numbers = numbers_of(record, path);
  const std::uint64_t data_bytes = file.left();
  const auto entries = entries_of(header, data_bytes, path);
  const std::string data = file.read(data_bytes);
  std::vector<sr_tensor> tensors;
  for (const auto &entry : entries) {
    // The values stay where they are: make_network copies those of the network, and refuses all others by name.
    sr_tensor tensor{entry.name.c_str(), reinterpret_cast<const float *>(data.data() + entry.first),
                     static_cast<std::int32_t>(entry.shape.size()), {}};
    std::copy(entry.shape.begin(), entry.shape.end(), tensor.shape);
    tensors.push_back(tensor);
  }
  auto network = make_network(numbers, tensors.data(), tensors.size());
  // Files of superres before digests have none.
  const Json *digest = record.find("tensors_sha256");
  if (digest != nullptr && (digest->kind != Json::Kind::string || digest->string != digest_of(entries, data)))
    damaged(path, "its tensors are not those that were written (another SHA-256)");
  return network;
}

} // namespace

Network read_network(const std::string &path) {
  File file(path);
  try {
    return network_of(file, path);
  } catch (const std::runtime_error &error) { // what the JSON reader throws
    damaged(path, error.what());
  }
}

} // namespace superres
