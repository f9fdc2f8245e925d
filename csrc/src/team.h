// Several threads for one piece of work, taken from the process where it has some to lend.
#ifndef SUPERRES_TEAM_H
#define SUPERRES_TEAM_H

#include <algorithm>
#include <cstddef>

namespace superres {

// Calls part(state, i) once for each i from 0 to parts - 1, on at most `parts` threads, this one among them, and returns
// when all are done.  Which thread does which part is left open; `part` must not throw.
//
// Where the process has an OpenMP runtime (torch brings one), its threads do it.  After each parallel region they spin for
// some milliseconds, waiting for the next: threads of our own would have to share the processors with them.  On two cores
// a training step beside torch's own took 1.12 of a plain loop's time with such threads.
void share_out(ptrdiff_t parts, void (*part)(void *state, ptrdiff_t index), void *state);

// work(part, first, last): contiguous parts of `count`, always the same for the same number of threads.
template <typename Work> void in_parts(ptrdiff_t count, int threads, const Work &work) {
  struct State {
    const Work &work;
    ptrdiff_t count, parts;
  };
  State state{work, count, std::max<ptrdiff_t>(1, std::min<ptrdiff_t>(threads, count))};
  share_out(
      state.parts,
      [](void *data, ptrdiff_t part) {
        const State &s = *static_cast<State *>(data);
        s.work(part, s.count * part / s.parts, s.count * (part + 1) / s.parts);
      },
      &state);
}

// Whose threads `share_out` would take now: "OpenMP" or "own".
const char *team_in_use();

} // namespace superres

#endif
