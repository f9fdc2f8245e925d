#include "json.h"

#include <cstdint>
#include <locale>
#include <sstream>
#include <stdexcept>

namespace superres {
namespace {

constexpr int kMaxDepth = 32;

class Parser {
public:
  Parser(std::string_view text, std::size_t most_values) : text_(text), values_left_(most_values) {}

  Json document() {
    Json value = parse(0);
    skip_space();
    if (at_ != text_.size())
      fail("something follows the document");
    return value;
  }

private:
  [[noreturn]] void fail(const char *what) const {
    throw std::runtime_error("no JSON at character " + std::to_string(at_) + ": " + what);
  }

  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r'))
      ++at_;
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  bool accept(char wanted) {
    skip_space();
    if (peek() != wanted || at_ >= text_.size())
      return false;
    ++at_;
    return true;
  }

  void expect(std::string_view wanted, const char *what) {
    if (text_.substr(at_, wanted.size()) != wanted)
      fail(what);
    at_ += wanted.size();
  }

  Json parse(int depth) {
    if (depth > kMaxDepth)
      fail("nested too deeply");
    if (values_left_-- == 0)
      fail("more values than a weights file has");
    skip_space();
    Json value;
    switch (peek()) {
    case '{':
      return object(depth);
    case '[':
      return array(depth);
    case '"':
      value.kind = Json::Kind::string;
      value.string = string();
      return value;
    case 't':
      expect("true", "expected true");
      value.kind = Json::Kind::boolean;
      value.boolean = true;
      return value;
    case 'f':
      expect("false", "expected false");
      value.kind = Json::Kind::boolean;
      return value;
    case 'n':
      expect("null", "expected null");
      return value;
    default:
      return number();
    }
  }

  Json object(int depth) {
    Json value;
    value.kind = Json::Kind::object;
    ++at_;
    if (accept('}'))
      return value;
    do {
      skip_space();
      if (peek() != '"')
        fail("expected a name in quotes");
      std::string name = string();
      if (!accept(':'))
        fail("expected a colon");
      if (!value.object.emplace(std::move(name), parse(depth + 1)).second)
        fail("a name is given twice");
    } while (accept(','));
    if (!accept('}'))
      fail("expected a comma or }");
    return value;
  }

  Json array(int depth) {
    Json value;
    value.kind = Json::Kind::array;
    ++at_;
    if (accept(']'))
      return value;
    do
      value.array.push_back(parse(depth + 1));
    while (accept(','));
    if (!accept(']'))
      fail("expected a comma or ]");
    return value;
  }

  void digits() {
    if (peek() < '0' || peek() > '9')
      fail("expected a value");
    while (peek() >= '0' && peek() <= '9')
      ++at_;
  }

  Json number() {
    const auto start = at_;
    if (peek() == '-')
      ++at_;
    if (peek() == '0')
      ++at_;
    else
      digits();
    if (peek() == '.') {
      ++at_;
      digits();
    }
    if (peek() == 'e' || peek() == 'E') {
      ++at_;
      if (peek() == '+' || peek() == '-')
        ++at_;
      digits();
    }
    Json value;
    value.kind = Json::Kind::number;
    // Not strtod, which reads the decimal point of the locale that the embedding program has set.
    std::istringstream text(std::string(text_.substr(start, at_ - start)));
    text.imbue(std::locale::classic());
    text >> value.number; // beyond the range: the largest number, or zero
    return value;
  }

  std::uint32_t hex4() {
    std::uint32_t code = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = peek();
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0)
        fail("expected four hexadecimal digits");
      code = code * 16 + static_cast<std::uint32_t>(digit);
    }
    return code;
  }

  void append_utf8(std::string &out, std::uint32_t code) const {
    const auto put = [&](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
    if (code < 0x80) {
      put(code);
    } else if (code < 0x800) {
      put(0xc0 | code >> 6);
      put(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
      put(0xe0 | code >> 12);
      put(0x80 | (code >> 6 & 0x3f));
      put(0x80 | (code & 0x3f));
    } else {
      put(0xf0 | code >> 18);
      put(0x80 | (code >> 12 & 0x3f));
      put(0x80 | (code >> 6 & 0x3f));
      put(0x80 | (code & 0x3f));
    }
  }

  std::string string() {
    std::string out;
    ++at_;
    while (true) {
      if (at_ >= text_.size())
        fail("a string does not end");
      const char c = text_[at_++];
      if (c == '"')
        return out;
      if (static_cast<unsigned char>(c) < 0x20)
        fail("a control character in a string");
      if (c != '\\') {
        out.push_back(c);
        continue;
      }
      const char escape = peek();
      ++at_;
      static constexpr std::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
      if (const auto found = kFrom.find(escape); escape != '\0' && found != std::string_view::npos) {
        out.push_back(kTo[found]);
      } else if (escape == 'u') {
        std::uint32_t code = hex4();
        if (code >= 0xd800 && code < 0xdc00) {
          expect("\\u", "half of a surrogate pair");
          const std::uint32_t low = hex4();
          if (low < 0xdc00 || low >= 0xe000)
            fail("half of a surrogate pair");
          code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        } else if (code >= 0xdc00 && code < 0xe000) {
          fail("half of a surrogate pair");
        }
        append_utf8(out, code);
      } else {
        fail("an unknown escape");
      }
    }
  }

  std::string_view text_;
  std::size_t values_left_;
  std::size_t at_ = 0;
};

} // namespace

Json parse_json(std::string_view text, std::size_t most_values) { return Parser(text, most_values).document(); }

} // namespace superres
