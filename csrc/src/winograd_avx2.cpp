// Compiled for AVX2 and FMA; winograd.cpp calls it only where the processor has them.
//
// A tile is 6×6 input pixels of which 4×4 output pixels come; tiles are numbered over images, rows and columns.  A thread
// takes blocks of kTiles of them: transformed inputs V and products M of one block, and the transformed weights U, stay in
// the L2 cache (1 MB for 64 channels), so that main memory sees each image once.  Per block and position p of the 6×6:
//     M[p] (tiles × outputs) = V[p] (tiles × inputs) · U[p] (inputs × outputs)
// which is where the time goes; `multiply` holds 12 vectors of sums in registers and is bound by the FMA units.
#include "winograd_avx2.h"

#include "team.h"

#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

namespace superres {
namespace {

constexpr ptrdiff_t kTiles = 24; // a multiple of the 12 and of the 6 rows that `multiply` takes at once
constexpr int kPositions = 36;

using Vector = __m256;

// Floats from one position's matrix of a block to the next: 64 bytes more than it has, so that the 36 values of a pixel,
// written one to each, do not fall on the same few sets of the L1 cache.
ptrdiff_t step_of(ptrdiff_t channels) { return kTiles * channels + 16; }

ptrdiff_t padded(ptrdiff_t channels) { return (channels + 7) / 8 * 8; }

struct Free {
  void operator()(float *memory) const { ::operator delete[](memory, std::align_val_t{64}); }
};
using Buffer = std::unique_ptr<float[], Free>;

Buffer buffer(ptrdiff_t count) {
  const auto bytes = static_cast<size_t>(count) * sizeof(float);
  Buffer memory(static_cast<float *>(::operator new[](bytes, std::align_val_t{64})));
  std::memset(memory.get(), 0, bytes);
  return memory;
}

// --- the matrix product ---------------------------------------------------------------------------------------------

// Unrolled by hand and by these: a loop over an array of sums that is left to the optimiser keeps the array in memory, and
// stores each sum after each product.
#if defined(__GNUC__)
#define SR_UNROLL _Pragma("GCC unroll 16")
#else
#define SR_UNROLL
#endif

// C[r][0 … 8·V) (+)= Σ_k A[r·ar + k·ak] · B[k·ldb …], for R rows.
template <int R, int V>
inline void strip(ptrdiff_t depth, const float *a, ptrdiff_t ar, ptrdiff_t ak, const float *b, ptrdiff_t ldb, float *c,
                  ptrdiff_t ldc, bool add) {
  Vector sum[R * V];
  SR_UNROLL
  for (int i = 0; i < R * V; ++i)
    sum[i] = _mm256_setzero_ps();
  for (ptrdiff_t k = 0; k < depth; ++k) {
    Vector row[V];
    SR_UNROLL
    for (int v = 0; v < V; ++v)
      row[v] = _mm256_loadu_ps(b + k * ldb + 8 * v);
    SR_UNROLL
    for (int r = 0; r < R; ++r) {
      const Vector value = _mm256_broadcast_ss(a + r * ar + k * ak);
      SR_UNROLL
      for (int v = 0; v < V; ++v)
        sum[r * V + v] = _mm256_fmadd_ps(value, row[v], sum[r * V + v]);
    }
  }
  SR_UNROLL
  for (int i = 0; i < R * V; ++i) {
    float *place = c + i / V * ldc + 8 * (i % V);
    _mm256_storeu_ps(place, add ? _mm256_add_ps(_mm256_loadu_ps(place), sum[i]) : sum[i]);
  }
}

template <int R, int V>
inline ptrdiff_t strips(ptrdiff_t first, ptrdiff_t rows, ptrdiff_t depth, const float *a, ptrdiff_t ar, ptrdiff_t ak,
                        const float *b, ptrdiff_t ldb, float *c, ptrdiff_t ldc, bool add) {
  for (; first + R <= rows; first += R)
    strip<R, V>(depth, a + first * ar, ar, ak, b, ldb, c + first * ldc, ldc, add);
  return first;
}

// C (rows × columns) (+)= A · B; columns a multiple of 8, and of C and B there are as many floats as that says.
void multiply(ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t depth, const float *a, ptrdiff_t ar, ptrdiff_t ak,
              const float *b, ptrdiff_t ldb, float *c, ptrdiff_t ldc, bool add) {
  ptrdiff_t column = 0;
  for (; column + 16 <= columns; column += 16) {
    ptrdiff_t done = strips<6, 2>(0, rows, depth, a, ar, ak, b + column, ldb, c + column, ldc, add);
    done = strips<4, 2>(done, rows, depth, a, ar, ak, b + column, ldb, c + column, ldc, add);
    strips<1, 2>(done, rows, depth, a, ar, ak, b + column, ldb, c + column, ldc, add);
  }
  if (column < columns) { // one vector wide: twice the rows, so that the sums still hide the latency of the FMA units
    ptrdiff_t done = strips<12, 1>(0, rows, depth, a, ar, ak, b + column, ldb, c + column, ldc, add);
    done = strips<4, 1>(done, rows, depth, a, ar, ak, b + column, ldb, c + column, ldc, add);
    strips<1, 1>(done, rows, depth, a, ar, ak, b + column, ldb, c + column, ldc, add);
  }
}

// --- the transforms (Lavin and Gray, §4.1: points 0, ±1, ±2 and infinity) -------------------------------------------

inline Vector times(float factor, Vector v) { return _mm256_mul_ps(_mm256_set1_ps(factor), v); }
inline Vector plus(Vector a, Vector b) { return _mm256_add_ps(a, b); }
inline Vector minus(Vector a, Vector b) { return _mm256_sub_ps(a, b); }
inline Vector fused(float factor, Vector a, Vector b) { return _mm256_fmadd_ps(_mm256_set1_ps(factor), a, b); }

// Bᵀ·d: six values along a column or row of a tile, `stride` vectors apart.
inline void input_line(const Vector *d, int from, Vector *out, int to) {
  const Vector d0 = d[0], d1 = d[from], d2 = d[2 * from], d3 = d[3 * from], d4 = d[4 * from], d5 = d[5 * from];
  const Vector even = fused(-4, d2, d4), odd = fused(-4, d1, d3);
  const Vector near = minus(d4, d2), far = times(2, minus(d3, d1));
  out[0] = fused(4, d0, fused(-5, d2, d4));
  out[to] = plus(even, odd);
  out[2 * to] = minus(even, odd);
  out[3 * to] = plus(near, far);
  out[4 * to] = minus(near, far);
  out[5 * to] = fused(4, d1, fused(-5, d3, d5));
}

// Aᵀ·m: six values to four.
inline void output_line(const Vector *m, int from, Vector *out, int to) {
  const Vector sum1 = plus(m[from], m[2 * from]), difference1 = minus(m[from], m[2 * from]);
  const Vector sum2 = plus(m[3 * from], m[4 * from]), difference2 = minus(m[3 * from], m[4 * from]);
  out[0] = plus(m[0], plus(sum1, sum2));
  out[to] = fused(2, difference2, difference1);
  out[2 * to] = fused(4, sum2, sum1);
  out[3 * to] = plus(fused(8, difference2, difference1), m[5 * from]);
}

// A·g: four values to six, the transpose of the line above.
inline void gradient_line(const Vector *g, int from, Vector *out, int to) {
  const Vector g0 = g[0], g1 = g[from], g2 = g[2 * from], g3 = g[3 * from];
  const Vector even1 = plus(g0, g2), odd1 = plus(g1, g3);
  const Vector even2 = fused(4, g2, g0), odd2 = fused(8, g3, times(2, g1));
  out[0] = g0;
  out[to] = plus(even1, odd1);
  out[2 * to] = minus(even1, odd1);
  out[3 * to] = plus(even2, odd2);
  out[4 * to] = minus(even2, odd2);
  out[5 * to] = g3;
}

// G: three weights to six.
inline void weight_line(const float *g, int from, float *out, int to) {
  const float ends = (g[0] + g[2 * from]) / 6, middle = g[from] / 6;
  const float far = g[0] / 24 + g[2 * from] / 6, half = g[from] / 12;
  out[0] = g[0] / 4;
  out[to] = -ends - middle;
  out[2 * to] = -ends + middle;
  out[3 * to] = far + half;
  out[4 * to] = far - half;
  out[5 * to] = g[2 * from];
}

// Gᵀ: six gradients to three.
inline void weight_gradient_line(const float *u, int from, float *out, int to) {
  const float sum1 = u[from] + u[2 * from], difference1 = u[2 * from] - u[from];
  const float sum2 = u[3 * from] + u[4 * from], difference2 = u[3 * from] - u[4 * from];
  out[0] = u[0] / 4 - sum1 / 6 + sum2 / 24;
  out[to] = difference1 / 6 + difference2 / 12;
  out[2 * to] = -sum1 / 6 + sum2 / 6 + u[5 * from];
}

__m256i mask(ptrdiff_t channels) { // of a vector of which `channels` lanes are there
  alignas(32) static const int lanes[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
  return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(lanes + 8 - std::min<ptrdiff_t>(channels, 8)));
}

struct Grid { // of tiles over images of n × h × w pixels
  ptrdiff_t n, h, w, rows, columns;
  Grid(ptrdiff_t n_, ptrdiff_t h_, ptrdiff_t w_) : n(n_), h(h_), w(w_), rows((h_ + 3) / 4), columns((w_ + 3) / 4) {}
  ptrdiff_t tiles() const { return n * rows * columns; }
};

// The pixels of a tile from (top, left) on, S × S of them, zero outside the image, through `line` both ways to `out`:
// out[position·step + …], one vector of channels at a time.
template <int S, void (*line)(const Vector *, int, Vector *, int)>
inline void gather(const float *image, const Grid &g, ptrdiff_t channels, ptrdiff_t tile, ptrdiff_t margin, float *out,
                   ptrdiff_t step) {
  const ptrdiff_t column = tile % g.columns, row = tile / g.columns % g.rows, number = tile / g.columns / g.rows;
  const ptrdiff_t top = 4 * row - margin, left = 4 * column - margin;
  const float *base = image + number * g.h * g.w * channels;
  for (ptrdiff_t c = 0; c < channels; c += 8) {
    const __m256i lanes = mask(channels - c);
    Vector d[S * S], half[6 * S], whole[kPositions];
    for (ptrdiff_t y = 0; y < S; ++y)
      for (ptrdiff_t x = 0; x < S; ++x) {
        const ptrdiff_t py = top + y, px = left + x;
        const bool inside = py >= 0 && py < g.h && px >= 0 && px < g.w;
        d[y * S + x] =
            inside ? _mm256_maskload_ps(base + (py * g.w + px) * channels + c, lanes) : _mm256_setzero_ps();
      }
    for (int x = 0; x < S; ++x)
      line(d + x, S, half + x, S);
    for (int y = 0; y < 6; ++y)
      line(half + y * S, 1, whole + y * 6, 1);
    for (int p = 0; p < kPositions; ++p)
      _mm256_storeu_ps(out + p * step + c, whole[p]);
  }
}

void scatter(const float *m, ptrdiff_t step, const Grid &g, ptrdiff_t channels, ptrdiff_t tile, const Epilogue &after,
             float *image) {
  const ptrdiff_t column = tile % g.columns, row = tile / g.columns % g.rows, number = tile / g.columns / g.rows;
  const ptrdiff_t first = number * g.h * g.w, others = after.residual ? after.residual_channels : 0;
  const ptrdiff_t bottom = std::min<ptrdiff_t>(4, g.h - 4 * row), right = std::min<ptrdiff_t>(4, g.w - 4 * column);
  for (ptrdiff_t c = 0; c < channels; c += 8) {
    const __m256i lanes = mask(channels - c);
    const Vector constant = after.bias ? _mm256_maskload_ps(after.bias + c, lanes) : _mm256_setzero_ps();
    Vector whole[kPositions], half[4 * 6], out[16];
    for (int p = 0; p < kPositions; ++p)
      whole[p] = _mm256_loadu_ps(m + p * step + c);
    for (int x = 0; x < 6; ++x)
      output_line(whole + x, 6, half + x, 6);
    for (int y = 0; y < 4; ++y)
      output_line(half + y * 6, 1, out + y * 4, 1);
    for (ptrdiff_t y = 0; y < bottom; ++y)
      for (ptrdiff_t x = 0; x < right; ++x) {
        const ptrdiff_t pixel = first + (4 * row + y) * g.w + 4 * column + x;
        Vector value = plus(out[y * 4 + x], constant);
        if (after.relu)
          value = _mm256_max_ps(value, _mm256_setzero_ps());
        if (c < others)
          value = plus(value, _mm256_maskload_ps(after.residual + pixel * others + c, mask(others - c)));
        _mm256_maskstore_ps(image + pixel * channels + c, lanes, value);
      }
  }
}

} // namespace

// --- the three convolutions -------------------------------------------------------------------------------------------

ptrdiff_t transformed_size(ptrdiff_t inputs, ptrdiff_t outputs) { return kPositions * inputs * padded(outputs); }

void transform_weights(ptrdiff_t inputs, ptrdiff_t outputs, const float *w, const ptrdiff_t s[4], float *u) {
  const ptrdiff_t columns = padded(outputs);
  std::fill(u, u + transformed_size(inputs, outputs), 0.0f);
  for (ptrdiff_t i = 0; i < inputs; ++i)
    for (ptrdiff_t o = 0; o < outputs; ++o) {
      float g[9], half[18], whole[kPositions];
      for (int ky = 0; ky < 3; ++ky)
        for (int kx = 0; kx < 3; ++kx)
          g[ky * 3 + kx] = w[o * s[0] + i * s[1] + ky * s[2] + kx * s[3]];
      for (int kx = 0; kx < 3; ++kx)
        weight_line(g + kx, 3, half + kx, 3);
      for (int ky = 0; ky < 6; ++ky)
        weight_line(half + ky * 3, 1, whole + ky * 6, 1);
      for (int p = 0; p < kPositions; ++p)
        u[(p * inputs + i) * columns + o] = whole[p];
    }
}

ptrdiff_t scratch_size(ptrdiff_t inputs, ptrdiff_t outputs) {
  return kPositions * (step_of(padded(inputs)) + step_of(padded(outputs)));
}

void convolve_transformed(const Sizes &c, const float *x, const float *u, const Epilogue &after, float *y,
                          float *scratch, int threads) {
  const Grid grid(c.n, c.h, c.w);
  const ptrdiff_t inputs = padded(c.inputs), outputs = padded(c.outputs);
  const ptrdiff_t tiles = grid.tiles(), blocks = (tiles + kTiles - 1) / kTiles;
  const ptrdiff_t v_step = step_of(inputs), m_step = step_of(outputs), size = scratch_size(c.inputs, c.outputs);
  in_parts(blocks, threads, [&](ptrdiff_t part, ptrdiff_t first, ptrdiff_t last) {
    float *v = scratch + part * size, *m = v + kPositions * v_step;
    for (ptrdiff_t block = first; block < last; ++block) {
      const ptrdiff_t begin = block * kTiles, count = std::min(kTiles, tiles - begin);
      for (ptrdiff_t t = 0; t < count; ++t)
        gather<6, input_line>(x, grid, c.inputs, begin + t, 1, v + t * inputs, v_step);
      for (int p = 0; p < kPositions; ++p)
        multiply(count, outputs, c.inputs, v + p * v_step, inputs, 1, u + p * c.inputs * outputs, outputs,
                 m + p * m_step, outputs, false);
      for (ptrdiff_t t = 0; t < count; ++t)
        scatter(m + t * outputs, m_step, grid, c.outputs, begin + t, after, y);
    }
  });
}

void convolve(const Sizes &c, const float *x, const float *w, const ptrdiff_t s[4], const float *bias, float *y,
              int threads) {
  const Buffer u = buffer(transformed_size(c.inputs, c.outputs));
  transform_weights(c.inputs, c.outputs, w, s, u.get());
  const Buffer scratch = buffer(std::max(1, threads) * scratch_size(c.inputs, c.outputs));
  Epilogue after;
  after.bias = bias;
  convolve_transformed(c, x, u.get(), after, y, scratch.get(), threads);
}

void weight_gradient(const Sizes &c, const float *x, const float *gy, float *gw, const ptrdiff_t s[4], int threads) {
  const Grid grid(c.n, c.h, c.w);
  const ptrdiff_t inputs = padded(c.inputs), outputs = padded(c.outputs);
  const ptrdiff_t tiles = grid.tiles(), blocks = (tiles + kTiles - 1) / kTiles, parts = std::max(1, threads);
  const ptrdiff_t v_step = step_of(inputs), m_step = step_of(outputs);
  const ptrdiff_t v_size = kPositions * v_step, m_size = kPositions * m_step;
  const ptrdiff_t u_size = kPositions * c.inputs * outputs, size = v_size + m_size + u_size;
  const Buffer memory = buffer(parts * size);
  in_parts(blocks, threads, [&](ptrdiff_t part, ptrdiff_t first, ptrdiff_t last) {
    float *v = memory.get() + part * size, *m = v + v_size, *u = m + m_size;
    for (ptrdiff_t block = first; block < last; ++block) {
      const ptrdiff_t begin = block * kTiles, count = std::min(kTiles, tiles - begin);
      for (ptrdiff_t t = 0; t < count; ++t) {
        gather<6, input_line>(x, grid, c.inputs, begin + t, 1, v + t * inputs, v_step);
        gather<4, gradient_line>(gy, grid, c.outputs, begin + t, 0, m + t * outputs, m_step);
      }
      for (int p = 0; p < kPositions; ++p)
        multiply(c.inputs, outputs, count, v + p * v_step, 1, inputs, m + p * m_step, outputs,
                 u + p * c.inputs * outputs, outputs, true);
    }
  });
  float *sum = memory.get() + v_size + m_size;
  for (ptrdiff_t part = 1; part < parts; ++part) {
    const float *other = sum + part * size;
    for (ptrdiff_t k = 0; k < u_size; ++k)
      sum[k] += other[k];
  }
  for (ptrdiff_t i = 0; i < c.inputs; ++i)
    for (ptrdiff_t o = 0; o < c.outputs; ++o) {
      float whole[kPositions], half[18], g[9];
      for (int p = 0; p < kPositions; ++p)
        whole[p] = sum[(p * c.inputs + i) * outputs + o];
      for (int kx = 0; kx < 6; ++kx)
        weight_gradient_line(whole + kx, 6, half + kx, 6);
      for (int ky = 0; ky < 3; ++ky)
        weight_gradient_line(half + ky * 6, 1, g + ky * 3, 1);
      for (int ky = 0; ky < 3; ++ky)
        for (int kx = 0; kx < 3; ++kx)
          gw[o * s[0] + i * s[1] + ky * s[2] + kx * s[3]] = g[ky * 3 + kx];
    }
}

} // namespace superres
