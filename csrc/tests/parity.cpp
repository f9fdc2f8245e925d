// Runs forwards as a file asks for them: how the tests reach the C API on any device, under sanitizers, or under
// compute-sanitizer, with no Python in the process.
//
//     superres_parity REQUEST RESULT
//     superres_parity              names of the two on standard input, a line each, again and again; says "done" each time
//
// The second way spares a GPU's tests the start of a process each.  Any failure ends the process: a GPU may not get over it.
// REQUEST, little-endian: "SRP1", then records.  One byte says what follows:
//   'M'  int32 device, threads, variant, then base_channels, blocks, alpha, grow_first, up, down, input_relu; int32 count;
//        for each tensor: int32 length and name, int32 rank, int64 extents, float32 values.  The model that later records
//        use.
//        RESULT gets int32 status, int32 length and message, or what sr_model_describe says.
//   'F'  int64 workspace bytes, 0 for what one forward of the whole needs, else it runs by bands; int32 is_u8, int64 n, h,
//        w; int64 offset and 4 strides of the input in elements, int64 count and bytes of its buffer; int64 offset and 4
//        strides of the output and int64 count of its buffer, which is poisoned (0xA5) first.
//        RESULT gets int32 status, int32 length and message, int64 count and the whole output buffer.
//   'G'  as 'F', through a graph: captured and launched over black frames, then launched over those of the request.  The
//        process ends where creating the graph alone has written to the output.
//   'W'  int64 n, h, w.  RESULT gets int32 0, int32 length and sr_workspace_size in decimal digits.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "device_memory.h"
#include "superres/superres.h"

namespace {

struct Stop {
  std::string text;
};

class Reader {
public:
  explicit Reader(const char *path) : file_(path, std::ios::binary) {
    if (!file_)
      throw Stop{"cannot open the request"};
  }
  bool more() { return file_.peek() != std::ifstream::traits_type::eof(); }
  void bytes(void *to, std::size_t count) {
    if (count != 0 && !file_.read(static_cast<char *>(to), static_cast<std::streamsize>(count)))
      throw Stop{"the request ends too early"};
  }
  template <class T> T value() {
    T result;
    bytes(&result, sizeof result);
    return result;
  }
  std::string text() {
    std::string result(static_cast<std::size_t>(value<std::int32_t>()), '\0');
    bytes(result.data(), result.size());
    return result;
  }

private:
  std::ifstream file_;
};

class Writer {
public:
  explicit Writer(const char *path) : file_(path, std::ios::binary) {}
  void bytes(const void *from, std::size_t count) {
    file_.write(static_cast<const char *>(from), static_cast<std::streamsize>(count));
  }
  template <class T> void value(T given) { bytes(&given, sizeof given); }
  void outcome(sr_status status, const sr_message &message) {
    value<std::int32_t>(status);
    value<std::int32_t>(static_cast<std::int32_t>(std::strlen(message.text)));
    bytes(message.text, std::strlen(message.text));
    file_.flush();
  }

private:
  std::ofstream file_;
};

struct ModelDeleter {
  void operator()(sr_model *model) const { sr_model_destroy(model); }
};
using Model = std::unique_ptr<sr_model, ModelDeleter>;

// refused: why there is none.
Model create(Reader &in, Writer &out, int &device, std::string &refused) {
  device = in.value<std::int32_t>();
  const auto threads = in.value<std::int32_t>();
  const auto variant = static_cast<sr_variant>(in.value<std::int32_t>());
  const auto numbers = in.value<sr_network>();
  const auto count = static_cast<std::size_t>(in.value<std::int32_t>());
  std::vector<std::string> names(count);
  std::vector<std::vector<float>> values(count);
  std::vector<sr_tensor> tensors(count);
  for (std::size_t i = 0; i < count; ++i) {
    names[i] = in.text();
    tensors[i].rank = in.value<std::int32_t>();
    std::size_t size = 1;
    for (int axis = 0; axis < tensors[i].rank; ++axis) {
      tensors[i].shape[axis] = in.value<std::int64_t>();
      size *= static_cast<std::size_t>(tensors[i].shape[axis]);
    }
    values[i].resize(size);
    in.bytes(values[i].data(), size * sizeof(float));
    tensors[i].name = names[i].c_str();
    tensors[i].values = values[i].data();
  }
  sr_message message{};
  sr_model *model = nullptr;
  const auto status =
      sr_model_create_variant(&numbers, tensors.data(), count, device, threads, variant, &model, &message);
  refused = message.text;
  if (status == SR_OK)
    std::snprintf(message.text, sizeof message.text, "%s", sr_model_describe(model));
  out.outcome(status, message);
  return Model(model);
}

// What a record asks for: buffers, strides and sizes.
struct Request {
  std::int64_t size[3], in_offset, in_strides[4], out_offset, out_strides[4];
};

enum class Way { whole, bands, graph };

struct GraphDeleter {
  void operator()(sr_graph *graph) const { sr_graph_destroy(graph); }
};

template <class Value> struct Functions;
template <> struct Functions<std::uint8_t> {
  static constexpr auto whole = sr_forward_u8, bands = sr_forward_bands_u8;
  static constexpr auto graph = sr_graph_create_u8;
};
template <> struct Functions<float> {
  static constexpr auto whole = sr_forward_f32, bands = sr_forward_bands_f32;
  static constexpr auto graph = sr_graph_create_f32;
};

template <class Value>
sr_status run(const sr_model *model, Way way, const Request &request, DeviceMemory &in,
              const std::vector<unsigned char> &pixels, DeviceMemory &out, DeviceMemory &workspace,
              std::size_t workspace_bytes, sr_message *message) {
  const auto *from = static_cast<const Value *>(in.address()) + request.in_offset;
  auto *to = static_cast<Value *>(out.address()) + request.out_offset;
  const auto *size = request.size;
  if (way != Way::graph)
    return (way == Way::bands ? Functions<Value>::bands : Functions<Value>::whole)(
        model, from, request.in_strides, to, request.out_strides, size[0], size[1], size[2], workspace.address(),
        workspace_bytes, nullptr, message);
  std::vector<unsigned char> before(out.size()), after(out.size());
  out.read(before);
  in.write(std::vector<unsigned char>(pixels.size()));
  sr_graph *made = nullptr;
  auto status =
      Functions<Value>::graph(model, from, request.in_strides, to, request.out_strides, size[0], size[1], size[2],
                              workspace.address(), workspace_bytes, &made, message);
  const std::unique_ptr<sr_graph, GraphDeleter> graph(made);
  out.read(after);
  if (after != before)
    throw Stop{"creating a graph has written to the output"};
  if (status == SR_OK)
    status = sr_graph_launch(made, nullptr, message);
  in.write(pixels);
  return status == SR_OK ? sr_graph_launch(made, nullptr, message) : status;
}

void forward(Reader &in, Writer &out, const sr_model *model, int device, bool by_graph) {
  const auto given_bytes = in.value<std::int64_t>();
  const bool is_u8 = in.value<std::int32_t>() != 0;
  const std::size_t width = is_u8 ? 1 : 4;
  Request request{};
  in.bytes(request.size, sizeof request.size);
  request.in_offset = in.value<std::int64_t>();
  in.bytes(request.in_strides, sizeof request.in_strides);
  std::vector<unsigned char> pixels(static_cast<std::size_t>(in.value<std::int64_t>()) * width);
  in.bytes(pixels.data(), pixels.size());
  request.out_offset = in.value<std::int64_t>();
  in.bytes(request.out_strides, sizeof request.out_strides);
  const auto out_count = in.value<std::int64_t>();
  std::vector<unsigned char> result(static_cast<std::size_t>(out_count) * width, 0xA5);
  // Workspace as dirty as the caller's may be: as float16 0xFFFF is NaN.
  const auto workspace_bytes = given_bytes > 0
                                   ? static_cast<std::size_t>(given_bytes)
                                   : sr_workspace_size(model, request.size[0], request.size[1], request.size[2]);
  const std::vector<unsigned char> dirt(workspace_bytes, 0xFF);
  DeviceMemory source(device, pixels), target(device, result), workspace(device, dirt);
  const auto way = by_graph ? Way::graph : given_bytes > 0 ? Way::bands : Way::whole;
  sr_message message{};
  const auto status = is_u8 ? run<std::uint8_t>(model, way, request, source, pixels, target, workspace,
                                                workspace_bytes, &message)
                            : run<float>(model, way, request, source, pixels, target, workspace, workspace_bytes,
                                         &message);
  out.outcome(status, message);
  target.read(result);
  out.value<std::int64_t>(out_count);
  out.bytes(result.data(), result.size());
}

void tell_workspace(Reader &in, Writer &out, const sr_model *model) {
  std::int64_t size[3];
  in.bytes(size, sizeof size);
  sr_message message{};
  std::snprintf(message.text, sizeof message.text, "%zu", sr_workspace_size(model, size[0], size[1], size[2]));
  out.outcome(SR_OK, message);
}

void serve(const char *request, const char *result) {
  Reader in(request);
  Writer out(result);
  char magic[4];
  in.bytes(magic, 4);
  if (std::memcmp(magic, "SRP1", 4) != 0)
    throw Stop{"the request is none"};
  Model model;
  int device = SR_DEVICE_CPU;
  std::string refused = "none was asked for";
  while (in.more()) {
    const char kind = in.value<char>();
    if (kind == 'M')
      model = create(in, out, device, refused);
    else if ((kind == 'F' || kind == 'G') && model)
      forward(in, out, model.get(), device, kind == 'G');
    else if (kind == 'W' && model)
      tell_workspace(in, out, model.get());
    else
      throw Stop{kind == 'F' || kind == 'G' || kind == 'W' ? "there is no model: " + refused
                                                           : "a record of an unknown kind"};
  }
}

} // namespace

int main(int argc, char **argv) {
  if (argc != 1 && argc != 3) {
    std::fprintf(stderr, "usage: superres_parity [REQUEST RESULT]\n");
    return 2;
  }
  try {
    if (argc == 3)
      serve(argv[1], argv[2]);
    else
      for (std::string request, result; std::getline(std::cin, request) && std::getline(std::cin, result);) {
        serve(request.c_str(), result.c_str());
        std::cout << "done" << std::endl;
      }
  } catch (const Stop &stop) {
    std::fprintf(stderr, "error: %s\n", stop.text.c_str());
    return 1;
  } catch (const DeviceFailure &failure) {
    std::fprintf(stderr, "error: %s\n", failure.text.c_str());
    return 1;
  }
  return 0;
}
