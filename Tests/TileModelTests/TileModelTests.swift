import CInstructions
import Testing

/// What `Tiles.h` multiplies in tile registers, by its model of the instructions in C: the same
/// functions, compiled for any processor.
@Suite("Products in tiles, by a model of them")
struct TileModelTests {
  private let side = Int(GYRE_TILES_SIDE)

  /// Repeatable bf16 numbers of either sign, of magnitudes from 2⁻⁸ to 2⁸.
  private struct Numbers {
    var state: UInt64

    mutating func next() -> UInt16 {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      let exponent = UInt16(119 + (state >> 40) % 17)
      return UInt16(truncatingIfNeeded: state >> 8) & 0x8000 | exponent << 7
        | UInt16(truncatingIfNeeded: state >> 16) & 0x7F
    }

    mutating func pairs(_ count: Int) -> [UInt32] {
      (0..<count).map { _ in UInt32(next()) | UInt32(next()) << 16 }
    }
  }

  private func number(_ bits: UInt32) -> Double {
    Double(Float(bitPattern: bits << 16))
  }

  @Test(
    "any number of steps, written or added, and nothing past the end", arguments: [16, 32, 288])
  func products(pairs: Int) throws {
    var numbers = Numbers(state: UInt64(pairs) &* 0x9E37_79B9_7F4A_7C15)
    let rows = numbers.pairs(side * pairs)
    let panel = numbers.pairs(pairs * side)
    let stride = side + 5
    var sums = [Float](repeating: 3, count: side * stride)
    for adds: Int32 in [0, 1] {
      gyre_tiles_begin()
      unsafe gyre_tiles_multiply(
        &sums, stride * 4, adds, rows, pairs * 4, 64, panel, pairs)
      gyre_tiles_end()
    }
    for row in 0..<side {
      for column in 0..<side {
        var (sum, magnitude) = (0.0, 0.0)
        for pair in 0..<pairs {
          let (a, b) = (rows[row * pairs + pair], panel[pair * side + column])
          for term in [number(a & 0xFFFF) * number(b & 0xFFFF), number(a >> 16) * number(b >> 16)] {
            sum += term
            magnitude += abs(term)
          }
        }
        let error = abs(Double(sums[row * stride + column]) - 2 * sum)
        #expect(error <= 0x1p-23 * magnitude * Double(pairs).squareRoot())
      }
      #expect(sums[row * stride + side..<(row + 1) * stride].allSatisfy { $0 == 3 })
    }
  }

  @Test("denormal numbers are zero, and none is left")
  func denormals() {
    for (a, b) in [(UInt32(0x0040_0040), UInt32(0x3F80_3F80)), (0x0080_0080, 0x3F00_3F00)] {
      let rows = [a] + [UInt32](repeating: 0, count: side * 16 - 1)
      let panel = [b] + [UInt32](repeating: 0, count: side * 16 - 1)
      var sums = [Float](repeating: 0, count: side * side)
      unsafe gyre_tiles_multiply(&sums, side * 4, 0, rows, 64, 64, panel, 16)
      #expect(sums.allSatisfy { $0 == 0 })
    }
  }

  @Test("firsts and seconds of pairs are summed by themselves, as the instruction does")
  func order() {
    // 2^24 + 1 is no Float: alone the ones of the second numbers add up, after 2^24 they vanish.
    var rows = [UInt32](repeating: 0, count: side * 16)
    var panel = rows
    for pair in 0..<16 {
      rows[pair] = 0x3F80_0000 | (pair == 0 ? 0x4B80 : 0)
      panel[pair * side] = 0x3F80_3F80
    }
    var sums = [Float](repeating: 0, count: side * side)
    unsafe gyre_tiles_multiply(&sums, side * 4, 0, rows, 64, 64, panel, 16)
    #expect(sums[0] == 16_777_232)
  }
}
