#pragma once

/// Instructions that Swift has no words for, as functions that disappear in their callers.
///
/// A function is there for a target that is compiled for its instruction, and for no other.

#if defined(__AVX512BF16__) && defined(__AVX512BW__)
#include <immintrin.h>

/// Sixteen numbers.
typedef float gyre_floats __attribute__((ext_vector_type(16)));
/// Sixteen pairs of bf16 numbers, the first of a pair in the lower half.
typedef unsigned int gyre_pairs __attribute__((ext_vector_type(16)));

/// `sum + a.second · b.second + a.first · b.first`, from left to right, each rounded: `vdpbf16ps`.
static inline __attribute__((always_inline)) gyre_floats
gyre_add_products_of_pairs(gyre_floats sum, gyre_pairs a, gyre_pairs b) {
  return (gyre_floats)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}

/// Thirty-two numbers rounded, neighbours becoming pairs: `vcvtne2ps2bf16`.
static inline __attribute__((always_inline)) gyre_pairs
gyre_pairs_of_neighbours(gyre_floats first, gyre_floats second) {
  return (gyre_pairs)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
}

/// Twice sixteen numbers rounded, those of the same lane becoming pairs.
static inline __attribute__((always_inline)) gyre_pairs
gyre_pairs_of_lanes(gyre_floats first, gyre_floats second) {
  const __m512i places = _mm512_set_epi16(
      31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19,
      3, 18, 2, 17, 1, 16, 0);
  return (gyre_pairs)_mm512_permutexvar_epi16(
      places, (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first));
}

/// Two rows of sixteen bf16 numbers, one after the other, the numbers of a column becoming a pair.
static inline __attribute__((always_inline)) gyre_pairs gyre_pairs_of_rows(gyre_pairs rows) {
  const __m512i places = _mm512_set_epi16(
      31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19,
      3, 18, 2, 17, 1, 16, 0);
  return (gyre_pairs)_mm512_permutexvar_epi16(places, (__m512i)rows);
}
#endif

/// Makes this thread's arithmetic take denormal numbers for zero and leave none.
///
/// - Returns: what ``gyre_end_flushing_denormals`` wants.
unsigned int gyre_begin_flushing_denormals(void);

/// Makes this thread's arithmetic what it was.
void gyre_end_flushing_denormals(unsigned int before);
