// Super-resolve one camera frame from C++, on the CPU:  upscale WEIGHTS INPUT.ppm OUTPUT.ppm
//
// INPUT: binary PPM (P6) or PGM (P5), 8 or 16 bits; the largest value that it allows is white.  OUTPUT is of the same kind.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "superres/superres.h"

namespace {

// white: the largest value that the file allows.  values: rows of pixels of `channels` values.
struct Frame {
  std::int64_t height = 0, width = 0;
  int channels = 3, white = 255;
  std::vector<std::uint16_t> values;
};

int number(std::istream &file, int largest) {
  while ((file >> std::ws).peek() == '#')
    file.ignore(1 << 20, '\n');
  int value = 0;
  if (!(file >> value) || value < 1 || value > largest)
    throw std::runtime_error("the header of the input is no PPM or PGM header");
  return value;
}

Frame read_pnm(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  std::string kind(2, ' ');
  if (!file.read(kind.data(), 2) || (kind != "P6" && kind != "P5"))
    throw std::runtime_error("'" + path + "' is no binary PPM or PGM file");
  Frame frame;
  frame.channels = kind == "P6" ? 3 : 1;
  frame.width = number(file, 1 << 16);
  frame.height = number(file, 1 << 16);
  frame.white = number(file, 65535);
  file.get(); // the one white space after the header
  const std::size_t count = static_cast<std::size_t>(frame.height * frame.width * frame.channels);
  const std::size_t bytes = frame.white > 255 ? 2 : 1;
  std::vector<unsigned char> content(count * bytes);
  if (!file.read(reinterpret_cast<char *>(content.data()), static_cast<std::streamsize>(content.size())))
    throw std::runtime_error("'" + path + "' is truncated");
  frame.values.resize(count);
  for (std::size_t i = 0; i < count; ++i) // 16 bits: the high byte comes first
    frame.values[i] = static_cast<std::uint16_t>(bytes == 1 ? content[i] : content[2 * i] << 8 | content[2 * i + 1]);
  return frame;
}

void write_pnm(const std::string &path, const Frame &frame) {
  std::ofstream file(path, std::ios::binary);
  file << (frame.channels == 3 ? "P6\n" : "P5\n") << frame.width << ' ' << frame.height << '\n' << frame.white << '\n';
  for (const std::uint16_t value : frame.values) {
    if (frame.white > 255)
      file.put(static_cast<char>(value >> 8));
    file.put(static_cast<char>(value & 0xff));
  }
  if (!file.flush())
    throw std::runtime_error("cannot write '" + path + "'");
}

struct DestroyModel {
  void operator()(sr_model *model) const { sr_model_destroy(model); }
};
using Model = std::unique_ptr<sr_model, DestroyModel>;

Model load(const char *path, int device) {
  sr_model *model = nullptr;
  sr_message why;
  if (sr_model_load(path, device, 0, &model, &why) != SR_OK)
    throw std::runtime_error(why.text);
  return Model(model);
}

// Frames of a GPU live in its own memory (cudaMalloc, a capture card's buffer); this program shows the CPU's way.
Frame upscaled(const sr_model *model, const Frame &frame) {
  Frame result = frame;
  sr_output_size(model, frame.height, frame.width, &result.height, &result.width);
  std::vector<float> in(frame.values.begin(), frame.values.end());
  for (float &value : in)
    value /= static_cast<float>(frame.white);
  std::vector<float> out(static_cast<std::size_t>(result.height * result.width) * 3);
  const std::int64_t pixel = frame.channels;
  // A single channel is given three times: a stride of 0.
  const std::int64_t in_strides[4] = {0, frame.channels == 3 ? 1 : 0, frame.width * pixel, pixel};
  const std::int64_t out_strides[4] = {0, 1, result.width * 3, 3};
  const std::size_t bytes = (sr_workspace_size(model, 1, frame.height, frame.width) + 255) / 256 * 256;
  const std::unique_ptr<void, decltype(&std::free)> workspace(std::aligned_alloc(256, bytes), &std::free);
  sr_message why;
  if (sr_forward_f32(model, in.data(), in_strides, out.data(), out_strides, 1, frame.height, frame.width,
                     workspace.get(), bytes, nullptr, &why) != SR_OK)
    throw std::runtime_error(why.text);
  const auto stored = [&](float unit) {
    const float clamped = std::min(1.0f, std::max(0.0f, unit));
    return static_cast<std::uint16_t>(std::nearbyint(clamped * static_cast<float>(frame.white)));
  };
  result.values.clear();
  for (std::size_t i = 0; i + 2 < out.size(); i += 3) {
    if (frame.channels == 3)
      result.values.insert(result.values.end(), {stored(out[i]), stored(out[i + 1]), stored(out[i + 2])});
    else
      result.values.push_back(stored((out[i] + out[i + 1] + out[i + 2]) / 3.0f));
  }
  return result;
}

} // namespace

int main(int argc, char **argv) {
  if (argc != 4) {
    std::cerr << "usage: upscale WEIGHTS INPUT.ppm OUTPUT.ppm\n";
    return 2;
  }
  try {
    const Model model = load(argv[1], SR_DEVICE_CPU);
    std::cerr << sr_model_describe(model.get());
    write_pnm(argv[3], upscaled(model.get(), read_pnm(argv[2])));
  } catch (const std::exception &error) {
    std::cerr << "error: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
