// Super-resolve a camera frame from C++, on the CPU, in bounded memory:  upscale WEIGHTS INPUT OUTPUT [WORKSPACE_MB]
//
// INPUT: binary PPM (P6) or PGM (P5), 8 or 16 bits; the largest value that it allows is white.  OUTPUT is of the same
// kind.  The frame is read, computed and written in bands of rows, and those in tiles where they are wide, so that never
// more than WORKSPACE_MB (256) of workspace is needed; the result is that of the whole frame, bit for bit.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "superres/superres.h"

namespace {

using Floats = std::vector<float>;

// height, width: in pixels.  white: the largest value that the file allows.
struct Format {
  std::int64_t height = 0, width = 0;
  int channels = 3, white = 255;

  std::int64_t row_values() const { return width * channels; }
  std::int64_t row_bytes() const { return row_values() * (white > 255 ? 2 : 1); }
};

int number(std::istream &file, int largest) {
  while ((file >> std::ws).peek() == '#')
    file.ignore(1 << 20, '\n');
  int value = 0;
  if (!(file >> value) || value < 1 || value > largest)
    throw std::runtime_error("the header of the input is no PPM or PGM header");
  return value;
}

class Reader {
public:
  explicit Reader(const std::string &path) : path_(path), file_(path, std::ios::binary) {
    std::string kind(2, ' ');
    if (!file_.read(kind.data(), 2) || (kind != "P6" && kind != "P5"))
      throw std::runtime_error("'" + path + "' is no binary PPM or PGM file");
    format_.channels = kind == "P6" ? 3 : 1;
    format_.width = number(file_, 1 << 20);
    format_.height = number(file_, 1 << 20);
    format_.white = number(file_, 65535);
    file_.get(); // the one white space after the header
    first_ = file_.tellg();
    file_.seekg(0, std::ios::end);
    if (file_.tellg() - first_ < format_.height * format_.row_bytes())
      throw std::runtime_error("'" + path + "' is truncated");
  }

  const Format &format() const { return format_; }

  // Rows [begin, end) in units of white.
  Floats rows(std::int64_t begin, std::int64_t end) {
    std::vector<unsigned char> content(static_cast<std::size_t>((end - begin) * format_.row_bytes()));
    file_.seekg(first_ + begin * format_.row_bytes());
    if (!file_.read(reinterpret_cast<char *>(content.data()), static_cast<std::streamsize>(content.size())))
      throw std::runtime_error("'" + path_ + "' cannot be read");
    Floats values(static_cast<std::size_t>((end - begin) * format_.row_values()));
    const auto white = static_cast<float>(format_.white);
    for (std::size_t i = 0; i < values.size(); ++i) { // 16 bits: the high byte comes first
      const int value = format_.white > 255 ? content[2 * i] << 8 | content[2 * i + 1] : content[i];
      values[i] = static_cast<float>(value) / white;
    }
    return values;
  }

private:
  std::string path_;
  std::ifstream file_;
  Format format_;
  std::streamoff first_ = 0;
};

// Writes beside the output and takes its name at the end, so that a half-written file never has it.
class Writer {
public:
  Writer(const std::string &path, const Format &format)
      : path_(path), partial_(path + ".part"), format_(format), file_(partial_, std::ios::binary) {
    file_ << (format.channels == 3 ? "P6\n" : "P5\n") << format.width << ' ' << format.height << '\n'
          << format.white << '\n';
    check();
  }
  ~Writer() { std::remove(partial_.c_str()); }
  Writer(const Writer &) = delete;
  Writer &operator=(const Writer &) = delete;

  // Rows of three values a pixel; a grey frame gets their mean.
  void rows(const Floats &pixels) {
    std::string content;
    const auto put = [&](float unit) {
      const float clamped = std::min(1.0f, std::max(0.0f, unit));
      const auto value = static_cast<unsigned>(std::nearbyint(clamped * static_cast<float>(format_.white)));
      if (format_.white > 255)
        content.push_back(static_cast<char>(value >> 8));
      content.push_back(static_cast<char>(value & 0xff));
    };
    for (std::size_t i = 0; i + 2 < pixels.size(); i += 3) {
      if (format_.channels == 3)
        std::for_each_n(pixels.begin() + static_cast<std::ptrdiff_t>(i), 3, put);
      else
        put((pixels[i] + pixels[i + 1] + pixels[i + 2]) / 3.0f);
    }
    file_.write(content.data(), static_cast<std::streamsize>(content.size()));
    check();
  }

  void finish() {
    file_.close();
    if (!file_ || std::rename(partial_.c_str(), path_.c_str()) != 0)
      throw std::runtime_error("cannot write '" + path_ + "'");
  }

private:
  void check() {
    if (!file_)
      throw std::runtime_error("cannot write '" + path_ + "'");
  }

  std::string path_, partial_;
  Format format_;
  std::ofstream file_;
};

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

std::int64_t output_length(const sr_model *model, std::int64_t length) {
  std::int64_t height, width;
  sr_output_size(model, length, length, &height, &width);
  return height;
}

// A part of one axis, half-open: the pixels to read, those of the part's output that are right, and where these belong.
struct Span {
  std::int64_t read[2], keep[2], place[2];
};

// The parts of an axis: cores of `core` pixels (a multiple of origin_multiple), each read with a halo around it.
std::vector<Span> spans(const sr_model *model, std::int64_t length, std::int64_t core) {
  std::int32_t halo, multiple;
  sr_tiling(model, &halo, &multiple);
  std::vector<Span> result;
  for (std::int64_t begin = 0; begin < length; begin += core) {
    const auto end = std::min(begin + core, length);
    const auto from = std::max<std::int64_t>(0, begin - halo) / multiple * multiple;
    const auto first = output_length(model, from);
    const auto place = output_length(model, begin), last = output_length(model, end);
    result.push_back({{from, std::min(end + halo, length)}, {place - first, last - first}, {place, last}});
  }
  return result;
}

// The largest side of a core whose tile fits the workspace.
std::int64_t core_side(const sr_model *model, const Format &frame, std::size_t bytes) {
  std::int32_t halo, multiple;
  sr_tiling(model, &halo, &multiple);
  const auto needed = [&](std::int64_t side) {
    const auto read = side + 2 * halo + multiple - 1;
    return sr_workspace_size(model, 1, std::min(read, frame.height), std::min(read, frame.width));
  };
  const auto fits = [&](std::int64_t side) { return needed(side) != 0 && needed(side) <= bytes; };
  const auto whole = (std::max(frame.height, frame.width) + multiple - 1) / multiple;
  if (!fits(multiple))
    throw std::runtime_error("the workspace is too small; expected at least " +
                             std::to_string((needed(multiple) >> 20) + 1) + " MB");
  std::int64_t low = 1, high = whole + 1; // in multiples: low fits, high is beyond the frame or does not
  while (high - low > 1) {
    const auto middle = (low + high) / 2;
    (fits(middle * multiple) ? low : high) = middle;
  }
  return low * multiple;
}

// Frames of a GPU live in its own memory (cudaMalloc, a capture card's buffer); this program shows the CPU's way.
void upscale(const sr_model *model, Reader &input, const std::string &output, std::size_t workspace_bytes) {
  const Format &frame = input.format();
  Format fine = frame;
  sr_output_size(model, frame.height, frame.width, &fine.height, &fine.width);
  const auto core = core_side(model, frame, workspace_bytes);
  const auto columns = spans(model, frame.width, core);
  const std::unique_ptr<void, decltype(&std::free)> workspace(std::aligned_alloc(256, workspace_bytes), &std::free);
  if (workspace == nullptr)
    throw std::bad_alloc();
  Writer writer(output, fine);
  for (const Span &rows : spans(model, frame.height, core)) {
    const Floats in = input.rows(rows.read[0], rows.read[1]);
    Floats band(static_cast<std::size_t>((rows.place[1] - rows.place[0]) * fine.width * 3));
    for (const Span &span : columns) {
      const auto height = rows.read[1] - rows.read[0], width = span.read[1] - span.read[0];
      std::int64_t tile_height, tile_width;
      sr_output_size(model, height, width, &tile_height, &tile_width);
      Floats tile(static_cast<std::size_t>(tile_height * tile_width) * 3);
      // A single channel is given three times: a stride of 0.
      const std::int64_t in_strides[4] = {0, frame.channels == 3 ? 1 : 0, frame.row_values(), frame.channels};
      const std::int64_t out_strides[4] = {0, 1, tile_width * 3, 3};
      sr_message why;
      if (sr_forward_f32(model, in.data() + span.read[0] * frame.channels, in_strides, tile.data(), out_strides, 1,
                         height, width, workspace.get(), workspace_bytes, nullptr, &why) != SR_OK)
        throw std::runtime_error(why.text);
      for (auto y = rows.keep[0]; y < rows.keep[1]; ++y)
        std::copy_n(tile.begin() + (y * tile_width + span.keep[0]) * 3, (span.keep[1] - span.keep[0]) * 3,
                    band.begin() + ((y - rows.keep[0]) * fine.width + span.place[0]) * 3);
    }
    writer.rows(band);
  }
  writer.finish();
}

} // namespace

int main(int argc, char **argv) {
  const int megabytes = argc == 5 ? std::atoi(argv[4]) : 256;
  if (argc < 4 || argc > 5 || megabytes < 1) {
    std::cerr << "usage: upscale WEIGHTS INPUT OUTPUT [WORKSPACE_MB]\n";
    return 2;
  }
  try {
    const Model model = load(argv[1], SR_DEVICE_CPU);
    std::cerr << sr_model_describe(model.get());
    Reader input(argv[2]);
    upscale(model.get(), input, argv[3], static_cast<std::size_t>(megabytes) << 20);
  } catch (const std::bad_alloc &) {
    std::cerr << "error: not enough memory; give a smaller WORKSPACE_MB than " << megabytes << '\n';
    return 1;
  } catch (const std::exception &error) {
    std::cerr << "error: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
