/* libsuperres: the pyramidal residual network of Rivenson et al., Optica 4, 1437 (2017), compiled.
 *
 * C ABI, usable from C99 and C++.  No globals: models are immutable, so that any number of threads may use one.
 * No pointer may be NULL but where this file says so; functions with a status then give SR_INVALID_ARGUMENT.
 *
 *     sr_model *model;
 *     sr_message why;
 *     if (sr_model_load("weights.safetensors", SR_DEVICE_CPU, 0, &model, &why) != SR_OK) puts(why.text);
 */
#ifndef SUPERRES_SUPERRES_H
#define SUPERRES_SUPERRES_H

#include <stddef.h>
#include <stdint.h>

#include "superres/build_info.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sr_status {
  SR_OK = 0,
  SR_INVALID_ARGUMENT = 1, /* a size, pointer, stride or option that the function does not take */
  SR_INVALID_WEIGHTS = 2,  /* a tensor is missing, of another shape, not finite or beyond float16 */
  SR_FILE_ERROR = 3,       /* a weights file cannot be read, or is damaged */
  SR_NOT_SUPPORTED = 4,    /* this build has no such device, or the device cannot run the kernels */
  SR_OUT_OF_MEMORY = 5,
  SR_CUDA_ERROR = 6        /* the CUDA runtime failed; the message says how */
} sr_status;

/* What went wrong, with the value seen and what was expected.  Pass NULL where it is not wanted. */
typedef struct sr_message {
  char text[512];
} sr_message;

/* One line for a status; static, never NULL. */
const char *sr_status_string(sr_status status);

/* Devices: a CUDA ordinal from 0, or one of these. */
#define SR_DEVICE_CPU (-1)      /* float32, threaded */
#define SR_DEVICE_EMULATED (-2) /* the device kernels run on the host; only in builds with SUPERRES_EMULATION, for tests */

/* Number of CUDA devices that this build can use now; 0 in a build without CUDA or on a machine without a GPU. */
int sr_device_count(void);

/* Numbers that fix the network: channels A_k = A_{k-1} + floor(alpha k / blocks + 1/2), A_0 = base_channels.
 * base_channels 1..256, blocks 1..32, alpha 0..256, A_blocks at most 256; up 1..8, down 1..4, up >= down.
 * grow_first: the first convolution of a block grows the channels, not the second.  input_relu: a ReLU after the input
 * convolution. */
typedef struct sr_network {
  int32_t base_channels, blocks, alpha, grow_first, up, down, input_relu;
} sr_network;

/* A named float32 tensor, contiguous: weights (out, in, 3, 3), biases (out).
 * Names: input, blocks.K.first, blocks.K.second (K from 0), expand, output; each .weight and .bias.  Channel
 * c up^2 + i up + j of expand is row i, column j of colour c. */
typedef struct sr_tensor {
  const char *name;
  const float *values;
  int32_t rank;
  int64_t shape[4];
} sr_tensor;

/* Functions without a status want a model: NULL is for sr_model_destroy alone. */
typedef struct sr_model sr_model;

/* Copy, check and pack weights for a device.  The tensors may go afterwards.
 * threads: of the CPU path; 0 for one a core.  Ignored on a GPU.
 * SR_INVALID_WEIGHTS names the layer when a tensor is missing, unknown, of another shape, holds NaN or infinity, or a
 * value beyond float16 (65504). */
sr_status sr_model_create(const sr_network *network, const sr_tensor *tensors, size_t count, int device, int threads,
                          sr_model **model, sr_message *message);

/* Which kernels a model on a GPU runs.  Where one cannot run (too many channels, too little shared memory, a scale that is
 * not s/2), its part of the network takes those of SR_VARIANT_LAYERS; sr_model_describe says which part takes which. */
typedef enum sr_variant {
  SR_VARIANT_DEFAULT = 0, /* SR_VARIANT_FOLDED: by design, as no card has been measured yet */
  SR_VARIANT_LAYERS = 1,  /* one launch a layer */
  SR_VARIANT_BLOCKS = 2,  /* one launch a residual block, the first with the input convolution; the tail in two */
  SR_VARIANT_FOLDED = 3   /* as BLOCKS, and the tail folded into one convolution */
} sr_variant;

/* sr_model_create for a variant.  On the CPU SR_VARIANT_LAYERS is plain loops, and every other one Winograd's transform
 * (superres/winograd.h) where the processor has AVX2 and FMA: the same to 1e-5, several times as fast. */
sr_status sr_model_create_variant(const sr_network *network, const sr_tensor *tensors, size_t count, int device,
                                  int threads, sr_variant variant, sr_model **model, sr_message *message);

/* The same from a weights file that superres wrote (safetensors with JSON metadata; the model plug-in must be
 * rivenson2017). */
sr_status sr_model_load(const char *path, int device, int threads, sr_model **model, sr_message *message);

/* NULL is allowed.  No forward may be running; work queued on a stream must have ended. */
void sr_model_destroy(sr_model *model);

/* ceil(up h / down) x ceil(up w / down), for sizes that a forward takes: 1 to 2^24. */
void sr_output_size(const sr_model *model, int64_t h, int64_t w, int64_t *out_h, int64_t *out_w);

/* For images that are cut into bands or tiles.  A part that begins at a multiple of origin_multiple and takes halo_px
 * pixels more than it is to give on each side where it was cut gives what the whole image would, bit for bit: only the
 * output of those further pixels is wrong.  examples/cpp/upscale.cpp does it. */
void sr_tiling(const sr_model *model, int32_t *halo_px, int32_t *origin_multiple);

/* What runs, one `key=value` a line: device, arithmetic ("float32", or "float16 storage, float32 sums"), kernel (which part
 * of the network takes which), launches (of a forward), choice (who chose the variant, and by what), channels
 * ("32 34 38 44 52 62"), up, down, halo_px, origin_multiple.  Lives as long as the model. */
const char *sr_model_describe(const sr_model *model);

/* Bytes that a forward of this size needs as workspace; 0 for sizes that it does not take. */
size_t sr_workspace_size(const sr_model *model, int64_t n, int64_t h, int64_t w);

/* Super-resolve n images of h x w pixels and 3 channels.
 *
 * in, out: first element, on the model's device.  strides: in elements, in the order n, channel, y, x; they may be
 *     negative (in) or skip (out), but outputs must not overlap one another, nor the input.
 * u8: 255 is white; the output is clamped and rounded half to even.  f32: 1.0 is white, nothing is clamped; aligned to
 *     4 bytes; on a GPU at most 65504.
 * On a GPU activations are float16: where weights, allowed as they are, make one larger than 65504, it becomes infinite
 *     and the output is wrong, not always infinite or NaN: compare with SR_DEVICE_CPU once where weights are in doubt.
 * workspace: on the model's device, aligned to 256 bytes, at least sr_workspace_size bytes; not shared by forwards that
 *     may run at one time.  Nothing is allocated, so a forward may be captured in a graph of the caller's too.
 * stream: a cudaStream_t of the model's device (NULL: the default stream); the call returns when the work is queued.
 *     On the CPU it returns when the work is done, and stream is not looked at (SR_DEVICE_EMULATED: NULL).
 * n = 0 does nothing.  The same input gives the same bits each time on one device. */
sr_status sr_forward_u8(const sr_model *model, const uint8_t *in, const int64_t in_strides[4], uint8_t *out,
                        const int64_t out_strides[4], int64_t n, int64_t h, int64_t w, void *workspace,
                        size_t workspace_bytes, void *stream, sr_message *message);
sr_status sr_forward_f32(const sr_model *model, const float *in, const int64_t in_strides[4], float *out,
                         const int64_t out_strides[4], int64_t n, int64_t h, int64_t w, void *workspace,
                         size_t workspace_bytes, void *stream, sr_message *message);

/* Bands: a frame in bounded memory, or by several devices, each with some of its rows.  Bands that partition a frame give
 * the bits of one forward of the whole.
 *
 * A band gives the output of the input's rows [first, first + rows); it reads halo_px more on each side, from a multiple
 * of origin_multiple.  All numbers are rows: the first one and the number of those that are read of the input and written of
 * the output, and how many of its own output the band drops before it. */
typedef struct sr_band {
  int64_t read_first, read_rows, out_first, out_rows, skip_rows;
} sr_band;

/* The band of rows [first, first + rows) of a frame of h rows.  first and first + rows: multiples of the model's
 * origin_multiple, except that the last band ends with the frame. */
sr_status sr_band_of(const sr_model *model, int64_t h, int64_t first, int64_t rows, sr_band *band, sr_message *message);

/* How many rows each band of a frame may have for a workspace of so many bytes: h where the whole frame fits, a multiple of
 * origin_multiple otherwise, 0 where no band fits.  The workspace of a band: sr_workspace_size(model, n, band.read_rows, w).
 */
int64_t sr_band_rows(const sr_model *model, int64_t n, int64_t h, int64_t w, size_t workspace_bytes);

/* A forward of one band.  in: first element of row read_first; out: of row out_first.  n and w: of the frame.  The rest as
 * in sr_forward_u8. */
sr_status sr_forward_band_u8(const sr_model *model, const uint8_t *in, const int64_t in_strides[4], uint8_t *out,
                             const int64_t out_strides[4], int64_t n, int64_t w, const sr_band *band, void *workspace,
                             size_t workspace_bytes, void *stream, sr_message *message);
sr_status sr_forward_band_f32(const sr_model *model, const float *in, const int64_t in_strides[4], float *out,
                              const int64_t out_strides[4], int64_t n, int64_t w, const sr_band *band, void *workspace,
                              size_t workspace_bytes, void *stream, sr_message *message);

/* A forward of a whole frame in as few bands as the workspace allows, one after the other on the stream.  Arguments as in
 * sr_forward_u8, with a workspace of any size from that of the smallest band on. */
sr_status sr_forward_bands_u8(const sr_model *model, const uint8_t *in, const int64_t in_strides[4], uint8_t *out,
                              const int64_t out_strides[4], int64_t n, int64_t h, int64_t w, void *workspace,
                              size_t workspace_bytes, void *stream, sr_message *message);
sr_status sr_forward_bands_f32(const sr_model *model, const float *in, const int64_t in_strides[4], float *out,
                               const int64_t out_strides[4], int64_t n, int64_t h, int64_t w, void *workspace,
                               size_t workspace_bytes, void *stream, sr_message *message);

/* A forward that is put together once and launched again and again: for frames so small that queueing its launches takes
 * longer than computing them (160 x 160 pixels; larger ones gain nothing).  On a GPU it is a CUDA graph; on the CPU a launch
 * is a forward.
 *
 * Arguments as in sr_forward_u8.  Each launch reads `in` and writes `out` as they then are; these, the workspace and the
 * model must live until the graph is destroyed and its launches have ended.  Creating computes nothing and waits for
 * nothing.  Launches of one graph share its buffers, so one runs after the other, on a GPU also where their streams differ.
 */
typedef struct sr_graph sr_graph;

sr_status sr_graph_create_u8(const sr_model *model, const uint8_t *in, const int64_t in_strides[4], uint8_t *out,
                             const int64_t out_strides[4], int64_t n, int64_t h, int64_t w, void *workspace,
                             size_t workspace_bytes, sr_graph **graph, sr_message *message);
sr_status sr_graph_create_f32(const sr_model *model, const float *in, const int64_t in_strides[4], float *out,
                              const int64_t out_strides[4], int64_t n, int64_t h, int64_t w, void *workspace,
                              size_t workspace_bytes, sr_graph **graph, sr_message *message);

/* stream: as in sr_forward_u8.  From any thread, but by one at a time. */
sr_status sr_graph_launch(const sr_graph *graph, void *stream, sr_message *message);

/* NULL is allowed.  Its launches must have ended. */
void sr_graph_destroy(sr_graph *graph);

#ifdef __cplusplus
}
#endif

#endif /* SUPERRES_SUPERRES_H */
