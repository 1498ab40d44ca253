// Gated linear attention over a sequence that is sharded among ranks, and its gradients, from C:
//
//     cc -I Sources/CGyre/include Examples/CProgram/mixing.c -L FOLDER -lgyre -o mixing
//     mpirun -n 3 ./mixing
//
// With ones for queries, keys and values and no decay, the output of a token counts the tokens up to it. The
// state after the last one has all of them, and the gradient of a value counts the tokens from it on.

#include "gyre.h"

#include <stdio.h>
#include <stdlib.h>

enum { TOKENS = 1000 };

// Says what went wrong, once for all ranks, and leaves with them.
static int fail(void) {
  if (gyre_rank() <= 0 || !gyre_error_is_shared()) fprintf(stderr, "%s\n", gyre_error());
  gyre_finalize(1);
  return 1;
}

int main(void) {
  if (gyre_init(0)) return fail();

  int64_t rows;
  if (gyre_positions(TOKENS, "contiguous", 0, gyre_rank(), NULL, &rows)) return fail();
  int64_t *positions = malloc((rows + 1) * sizeof *positions);
  if (gyre_positions(TOKENS, "contiguous", 0, gyre_rank(), positions, &rows)) return fail();

  float *ones = malloc((rows + 1) * sizeof *ones), *zeros = calloc(rows + 1, sizeof *zeros);
  for (int64_t i = 0; i < rows; i++) ones[i] = 1;

  // [batch, tokens, heads, head_dim]
  gyre_named_tensor tensors[] = {
      {.name = "q", .data = ones, .sizes = {1, rows, 1, 1}, .dimensions = 4},
      {.name = "k", .data = ones, .sizes = {1, rows, 1, 1}, .dimensions = 4},
      {.name = "v", .data = ones, .sizes = {1, rows, 1, 1}, .dimensions = 4},
      {.name = "g", .data = zeros, .sizes = {1, rows, 1, 1}, .dimensions = 4},
  };
  gyre_mixing mixing = {
      .interface = GYRE_INTERFACE, .tensor_count = 4, .tensors = tensors, .mixer = "gla",
      .options = "scale=1",
  };
  // The output and the state.
  gyre_named_tensor outputs[2];
  int32_t count = 2;
  gyre_tensor kept, gradients[4];
  if (gyre_mix(&mixing, NULL, outputs, &count, &kept)) return fail();
  if (gyre_mix_backward(&mixing, NULL, &kept, ones, gradients)) return fail();

  double wrong = 0;
  for (int64_t i = 0; i < rows; i++) {
    wrong += outputs[0].data[i] != positions[i] + 1;
    wrong += gradients[2].data[i] != TOKENS - positions[i];
  }
  if (gyre_sum_f64(&wrong, 1)) return fail();
  if (gyre_rank() == 0)
    printf("%s %.0f tokens, %.0f wrong\n", outputs[1].name, outputs[1].data[0], wrong);

  for (int i = 0; i < 2; i++) gyre_named_tensor_free(&outputs[i]);
  for (int i = 0; i < 4; i++) gyre_tensor_free(&gradients[i]);
  gyre_tensor_free(&kept);
  free(positions), free(ones), free(zeros);
  return gyre_finalize(0) ? fail() : 0;
}
