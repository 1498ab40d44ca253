#pragma once

/// Products of bf16 pairs in the tile registers of AMX, two tiles of rows by two of columns.
///
/// A tile is 16 rows of 64 bytes. Four hold sums, 32 rows by 32 columns of `float`; two hold 16 pairs
/// of each of 32 rows, and two the same 16 pairs of each of 32 columns. Each that is loaded is used
/// twice, so that a step of 16 pairs is four loads and four products of 16 · 16 · 32 multiply–adds.
///
/// With `GYRE_TILE_MODEL` the same functions compute in plain C what the instructions compute, bit
/// for bit, on any processor.
///
/// Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18, and
/// volume 2, LDTILECFG, TILELOADD, TILESTORED, TDPBF16PS.

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

/// Rows and columns of a product.
#define GYRE_TILES_SIDE 32
/// Pairs of a step.
#define GYRE_TILES_PAIRS 16

/// What a tile register holds, for the model.
typedef struct {
  unsigned int row[16][16];
} gyre_tile;

#if defined(GYRE_TILE_MODEL)

/// Those of a thread.
extern _Thread_local gyre_tile gyre_tiles[8];

static inline float gyre_tile_flushed(float number) {
  return fabsf(number) < 0x1p-126f ? copysignf(0, number) : number;
}

static inline float gyre_tile_number(unsigned int bits) {
  float number;
  memcpy(&number, &bits, sizeof number);
  return gyre_tile_flushed(number);
}

static inline void gyre_tile_load(int tile, const void *_Nonnull source, size_t stride) {
  for (int row = 0; row < 16; row++) {
    memcpy(gyre_tiles[tile].row[row], (const char *)source + row * stride, 64);
  }
}

static inline void gyre_tile_store(int tile, void *_Nonnull target, size_t stride) {
  for (int row = 0; row < 16; row++) {
    memcpy((char *)target + row * stride, gyre_tiles[tile].row[row], 64);
  }
}

static inline void gyre_tile_zero(int tile) { memset(&gyre_tiles[tile], 0, sizeof gyre_tiles[0]); }

/// Firsts and seconds of pairs are summed by themselves from 0, and both sums are then added.
static inline void gyre_tile_product(int sums, int a, int b) {
  for (int row = 0; row < 16; row++) {
    for (int column = 0; column < 16; column++) {
      float first = 0, second = 0;
      for (int pair = 0; pair < 16; pair++) {
        const unsigned int left = gyre_tiles[a].row[row][pair];
        const unsigned int right = gyre_tiles[b].row[pair][column];
        first = gyre_tile_flushed(
            fmaf(gyre_tile_number(left << 16), gyre_tile_number(right << 16), first));
        second = gyre_tile_flushed(fmaf(
            gyre_tile_number(left & 0xFFFF0000u), gyre_tile_number(right & 0xFFFF0000u), second));
      }
      const float before = gyre_tile_number(gyre_tiles[sums].row[row][column]);
      const float sum = gyre_tile_flushed(before + gyre_tile_flushed(first + second));
      memcpy(&gyre_tiles[sums].row[row][column], &sum, sizeof sum);
    }
  }
}

#define GYRE_TILE_LOAD(tile, source, stride) gyre_tile_load(tile, source, stride)
#define GYRE_TILE_STORE(tile, target, stride) gyre_tile_store(tile, target, stride)
#define GYRE_TILE_ZERO(tile) gyre_tile_zero(tile)
#define GYRE_TILE_PRODUCT(sums, a, b) gyre_tile_product(sums, a, b)
#define GYRE_HAS_TILES 1

static inline void gyre_tiles_begin(void) {}
static inline void gyre_tiles_end(void) {}

#elif defined(__AMX_TILE__) && defined(__AMX_BF16__)

#define GYRE_TILE_LOAD(tile, source, stride) _tile_loadd(tile, source, stride)
#define GYRE_TILE_STORE(tile, target, stride) _tile_stored(tile, target, stride)
#define GYRE_TILE_ZERO(tile) _tile_zero(tile)
#define GYRE_TILE_PRODUCT(sums, a, b) _tile_dpbf16ps(sums, a, b)
#define GYRE_HAS_TILES 1

/// Makes all eight tiles of this thread 16 rows of 64 bytes. A thread that computes begins before its
/// first product and ends after its last: tiles that are in use make every switch of threads slower.
static inline __attribute__((always_inline)) void gyre_tiles_begin(void) {
  struct {
    uint8_t palette, startRow, reserved[14];
    uint16_t columnBytes[16];
    uint8_t rows[16];
  } configuration = {.palette = 1};
  for (int tile = 0; tile < 8; tile++) {
    configuration.columnBytes[tile] = 64;
    configuration.rows[tile] = 16;
  }
  _tile_loadconfig(&configuration);
}

/// Gives the tiles of this thread back.
static inline __attribute__((always_inline)) void gyre_tiles_end(void) { _tile_release(); }
#endif

#if defined(GYRE_HAS_TILES)
/// Writes the product of 32 rows and a panel of 32 columns.
///
/// - Parameters:
///   - sums: where it goes, rows `sumStride` bytes apart.
///   - adds: whether it is added to what lies there.
///   - rows: 16 pairs of each of 32 rows one after the other, rows `rowStride` bytes apart; the next
///     16 pairs of them `runStride` bytes on.
///   - panel: `[pairs][32]`.
///   - pairs: a multiple of 16.
static inline __attribute__((always_inline)) void gyre_tiles_multiply(
    float *_Nonnull sums, size_t sumStride, int adds, const void *_Nonnull rows, size_t rowStride,
    size_t runStride, const void *_Nonnull panel, size_t pairs) {
  float *const lowerSums = (float *)((char *)sums + 16 * sumStride);
  if (adds) {
    GYRE_TILE_LOAD(0, sums, sumStride);
    GYRE_TILE_LOAD(1, sums + 16, sumStride);
    GYRE_TILE_LOAD(2, lowerSums, sumStride);
    GYRE_TILE_LOAD(3, lowerSums + 16, sumStride);
  } else {
    GYRE_TILE_ZERO(0);
    GYRE_TILE_ZERO(1);
    GYRE_TILE_ZERO(2);
    GYRE_TILE_ZERO(3);
  }
  const char *row = (const char *)rows, *column = (const char *)panel;
  for (size_t pair = 0; pair < pairs; pair += GYRE_TILES_PAIRS) {
    GYRE_TILE_LOAD(4, row, rowStride);
    GYRE_TILE_LOAD(6, column, 128);
    GYRE_TILE_LOAD(5, row + 16 * rowStride, rowStride);
    GYRE_TILE_LOAD(7, column + 64, 128);
    GYRE_TILE_PRODUCT(0, 4, 6);
    GYRE_TILE_PRODUCT(1, 4, 7);
    GYRE_TILE_PRODUCT(2, 5, 6);
    GYRE_TILE_PRODUCT(3, 5, 7);
    row += runStride;
    column += 16 * 128;
  }
  GYRE_TILE_STORE(0, sums, sumStride);
  GYRE_TILE_STORE(1, sums + 16, sumStride);
  GYRE_TILE_STORE(2, lowerSums, sumStride);
  GYRE_TILE_STORE(3, lowerSums + 16, sumStride);
}
#endif

#if defined(GYRE_HAS_TILES)
/// Makes products of what is in the tiles, four a step.
static inline void gyre_tiles_multiply_only(size_t steps) {
  for (size_t step = 0; step < steps; step++) {
    GYRE_TILE_PRODUCT(0, 4, 6);
    GYRE_TILE_PRODUCT(1, 4, 7);
    GYRE_TILE_PRODUCT(2, 5, 6);
    GYRE_TILE_PRODUCT(3, 5, 7);
  }
}
#endif

#if defined(__AVX512F__)
/// Turns 16 rows of 16 words each into columns, in place.
static inline __attribute__((always_inline)) void gyre_turn(void *_Nonnull words) {
  __m512 row[16], half[16];
  for (int i = 0; i < 16; i++) row[i] = _mm512_loadu_ps((const float *)words + 16 * i);
  // Words of pairs of rows, then of quadruples, in each quarter; then the quarters.
  for (int i = 0; i < 16; i += 2) {
    half[i] = _mm512_unpacklo_ps(row[i], row[i + 1]);
    half[i + 1] = _mm512_unpackhi_ps(row[i], row[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    for (int j = 0; j < 2; j++) {
      const __m512d low = (__m512d)half[i + j], high = (__m512d)half[i + j + 2];
      row[i + 2 * j] = (__m512)_mm512_unpacklo_pd(low, high);
      row[i + 2 * j + 1] = (__m512)_mm512_unpackhi_pd(low, high);
    }
  }
  for (int i = 0; i < 4; i++) {
    half[i] = _mm512_shuffle_f32x4(row[i], row[i + 4], 0x88);
    half[i + 4] = _mm512_shuffle_f32x4(row[i], row[i + 4], 0xDD);
    half[i + 8] = _mm512_shuffle_f32x4(row[i + 8], row[i + 12], 0x88);
    half[i + 12] = _mm512_shuffle_f32x4(row[i + 8], row[i + 12], 0xDD);
  }
  for (int i = 0; i < 4; i++) {
    float *const target = (float *)words + 16 * i;
    _mm512_storeu_ps(target, _mm512_shuffle_f32x4(half[i], half[i + 8], 0x88));
    _mm512_storeu_ps(target + 4 * 16, _mm512_shuffle_f32x4(half[i + 4], half[i + 12], 0x88));
    _mm512_storeu_ps(target + 8 * 16, _mm512_shuffle_f32x4(half[i], half[i + 8], 0xDD));
    _mm512_storeu_ps(target + 12 * 16, _mm512_shuffle_f32x4(half[i + 4], half[i + 12], 0xDD));
  }
}
#endif

/// Asks the kernel to let this process use tiles; once, before the first of its threads does.
///
/// - Returns: 0, or the number of the error: `EINVAL` from kernels before Linux 5.16, `EOPNOTSUPP`
///   where the processor has no tiles.
int gyre_request_tiles(void);
