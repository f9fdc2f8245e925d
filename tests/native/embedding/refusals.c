/* Calls that libsuperres must refuse, with numbers near the ends of their types, and what it says to each. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "superres/superres.h"

static sr_message why;
static int wrong = 0;

static void refused(const char *what, sr_status status, sr_status expected) {
  printf("%s: %d, %s\n", what, (int)status, why.text);
  if (status != expected || why.text[0] == '\0') {
    fprintf(stderr, "%s: status %d, expected %d\n", what, (int)status, (int)expected);
    ++wrong;
  }
}

static void zero(const char *what, int64_t value) {
  if (value != 0) {
    fprintf(stderr, "%s: %" PRId64 ", expected 0\n", what, value);
    ++wrong;
  }
}

static void refuse_bands(const sr_model *model) {
  static const int64_t ends[][3] = {/* h, first, rows */
                                    {61, INT64_MAX - 1, 4}, {61, INT64_MAX - 1, INT64_MAX}, {61, 0, INT64_MAX},
                                    {61, INT64_MIN, 2},     {61, 0, INT64_MIN},             {61, -2, 4},
                                    {INT64_MIN, 0, 2},      {0, 0, 2},                      {INT64_MAX, 0, INT64_MAX}};
  for (size_t i = 0; i < sizeof ends / sizeof ends[0]; ++i) {
    sr_band band;
    refused("band", sr_band_of(model, ends[i][0], ends[i][1], ends[i][2], &band, &why), SR_INVALID_ARGUMENT);
  }
}

/* A caller's own numbers in the place of sr_band_of's. */
static void refuse_forwards(const sr_model *model, uint8_t *frame, uint8_t *output, void *workspace, size_t bytes) {
  static const sr_band bands[] = {{0, 8, 0, INT64_MAX, INT64_MAX}, {0, 8, 0, INT64_MAX, 5}, {0, 8, 0, 5, INT64_MAX},
                                  {0, 8, 0, 21, 0},                {0, 8, 0, 0, 0},         {0, 8, 0, 5, -1},
                                  {0, INT64_MAX, 0, 5, 0},         {0, -1, 0, 5, 0}};
  const int64_t in[4] = {192, 1, 24, 3}, out[4] = {1200, 1, 60, 3};
  for (size_t i = 0; i < sizeof bands / sizeof bands[0]; ++i)
    refused("forward", sr_forward_band_u8(model, frame, in, output, out, 1, 8, &bands[i], workspace, bytes, NULL, &why),
            SR_INVALID_ARGUMENT);
  refused("no bytes", sr_forward_u8(model, frame, in, output, out, 1, 8, 8, workspace, bytes - 1, NULL, &why),
          SR_INVALID_ARGUMENT);
  refused("odd place", sr_forward_u8(model, frame, in, output, out, 1, 8, 8, (char *)workspace + 8, bytes, NULL, &why),
          SR_INVALID_ARGUMENT);
  refused("no model", sr_forward_u8(NULL, frame, in, output, out, 1, 8, 8, workspace, bytes, NULL, &why),
          SR_INVALID_ARGUMENT);
  refused("no frame", sr_forward_u8(model, NULL, in, output, out, 1, 8, 8, workspace, bytes, NULL, &why),
          SR_INVALID_ARGUMENT);
  refused("no side", sr_forward_u8(model, frame, in, output, out, 1, INT64_MAX, 8, workspace, bytes, NULL, &why),
          SR_INVALID_ARGUMENT);
  refused("less than none", sr_forward_u8(model, frame, in, output, out, INT64_MIN, 8, 8, workspace, bytes, NULL, &why),
          SR_INVALID_ARGUMENT);
}

int main(int argc, char **argv) {
  sr_model *model = NULL;
  if (argc != 2 || sr_model_load(argv[1], SR_DEVICE_CPU, 1, &model, &why) != SR_OK) {
    fprintf(stderr, "usage: refusals WEIGHTS; %s\n", why.text);
    return 2;
  }
  zero("workspace", (int64_t)sr_workspace_size(model, 1, INT64_MAX, 8));
  zero("workspace of nothing", (int64_t)sr_workspace_size(model, 0, 8, 8));
  zero("rows of no height", sr_band_rows(model, 1, INT64_MIN, 8, (size_t)1 << 30));
  zero("rows of no width", sr_band_rows(model, 1, 8, -1, (size_t)1 << 30));
  if (sr_band_rows(model, 1, INT64_MAX, 8, (size_t)1 << 24) % 2 != 0)
    ++wrong;
  refuse_bands(model);

  const size_t bytes = sr_workspace_size(model, 1, 8, 8);
  char *memory = malloc(bytes + 256);
  uint8_t *frame = calloc(192, 1), *output = calloc(1200, 1);
  refuse_forwards(model, frame, output, memory + (256 - (uintptr_t)memory % 256), bytes);
  free(memory);
  free(frame);
  free(output);
  sr_model_destroy(model);
  sr_model_destroy(NULL);

  refused("a folder", sr_model_load(".", SR_DEVICE_CPU, 1, &model, &why), SR_FILE_ERROR);
  refused("no threads", sr_model_load(argv[1], SR_DEVICE_CPU, -1, &model, &why), SR_INVALID_ARGUMENT);
  if (model != NULL)
    ++wrong;
  const sr_network network = {3, 1, 0, 0, 1, 1, 0};
  const float value = 0;
  sr_tensor tensor = {"input.weight", &value, 400000, {3, 3, 3, 3}};
  refused("many axes", sr_model_create(&network, &tensor, 1, SR_DEVICE_CPU, 1, &model, &why), SR_INVALID_WEIGHTS);
  tensor.rank = -1;
  refused("no axes", sr_model_create(&network, &tensor, 1, SR_DEVICE_CPU, 1, &model, &why), SR_INVALID_WEIGHTS);
  tensor.name = NULL;
  refused("no name", sr_model_create(&network, &tensor, 1, SR_DEVICE_CPU, 1, &model, &why), SR_INVALID_WEIGHTS);
  return wrong;
}
