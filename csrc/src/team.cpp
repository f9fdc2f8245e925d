#include "team.h"

#include <atomic>
#include <exception>
#include <thread>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <dlfcn.h>
#endif

namespace superres {
namespace {

// Of GCC's OpenMP runtime, part of its stable ABI, which LLVM's has as well: function(data) once on each of at most
// `threads` threads, the calling one among them.
using GompParallel = void (*)(void (*function)(void *), void *data, unsigned threads, unsigned flags);

// Looked up each time (a microsecond): the runtime may come later than we, as with an `import torch`.
GompParallel openmp() {
#if defined(__unix__) || defined(__APPLE__)
  return reinterpret_cast<GompParallel>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
#else
  return nullptr;
#endif
}

struct Work {
  ptrdiff_t parts;
  void (*part)(void *, ptrdiff_t);
  void *state;
  std::atomic<ptrdiff_t> next{0};
};

// What each thread does: a runtime may send fewer threads than it was asked for, so no part belongs to one of them.
void take_parts(void *data) {
  Work &work = *static_cast<Work *>(data);
  for (ptrdiff_t index = work.next++; index < work.parts; index = work.next++)
    work.part(work.state, index);
}

void on_own_threads(Work &work) {
  std::vector<std::thread> others;
  others.reserve(static_cast<size_t>(work.parts));
  try {
    while (static_cast<ptrdiff_t>(others.size()) + 1 < work.parts)
      others.emplace_back(take_parts, &work);
  } catch (const std::exception &) { // no more threads, or no memory for one: those that are there do the other parts too
  }
  take_parts(&work);
  for (auto &other : others)
    other.join();
}

} // namespace

void share_out(ptrdiff_t parts, void (*part)(void *, ptrdiff_t), void *state) {
  Work work{parts, part, state};
  if (parts <= 1)
    take_parts(&work);
  else if (const GompParallel parallel = openmp())
    parallel(take_parts, &work, static_cast<unsigned>(parts), 0);
  else
    on_own_threads(work);
}

const char *team_in_use() { return openmp() ? "OpenMP" : "own"; }

} // namespace superres
