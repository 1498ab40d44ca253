import Compute
import KernelSets
import Tensors
import Testing

@Suite("Packed matrix products against Double")
struct PackedProductTests {
  /// Repeatable numbers in (−1, 1).
  private func numbers(_ count: Int, seed: UInt64) -> [Float] {
    var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
    return (0..<count).map { _ in
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      return Float(Int32(truncatingIfNeeded: state >> 20)) / 2_147_483_648
    }
  }

  /// `A · B`, with `C` to begin with, as it is defined.
  private func exact(
    _ a: [Float], _ b: [Float], _ c: [Float], _ rows: Int, _ depth: Int, _ columns: Int
  ) -> [Double] {
    var result = c.map(Double.init)
    for i in 0..<rows {
      for k in 0..<depth {
        for j in 0..<columns {
          result[i * columns + j] += Double(a[i * depth + k]) * Double(b[k * columns + j])
        }
      }
    }
    return result
  }

  private func product(
    _ a: [Float], _ b: [Float], rows: Int, depth: Int, columns: Int, adding: [Float]? = nil,
    isTransposed: Bool = false, threads: Int = 1, instructions: InstructionSet = .inUse
  ) -> [Float] {
    let team = ThreadTeam(threads: threads)
    // Sentinels, which must be overwritten, and others past the end, which must not.
    var c = adding ?? [Float](repeating: .nan, count: rows * columns)
    c += [7, 7]
    var span = c.mutableSpan
    var part = span.part(0..<rows * columns)
    let matrix: PackedMatrix
    if isTransposed {
      let rowsOfB = (0..<columns * depth).map {
        b[$0 % max(depth, 1) * columns + $0 / max(depth, 1)]
      }
      matrix = PackedMatrix(
        transposing: rowsOfB.span, depth: depth, columns: columns, instructions: instructions,
        team: team)
    } else {
      matrix = PackedMatrix(
        b.span, depth: depth, columns: columns, instructions: instructions, team: team)
    }
    matrix.multiply(a.span, rows: rows, into: &part, adding: adding != nil, team: team)
    #expect(c.suffix(2) == [7, 7])
    return Array(c.dropLast(2))
  }

  @Test(
    "any sizes",
    arguments: [
      (1, 1, 1), (6, 16, 16), (5, 7, 3), (7, 300, 33), (96, 256, 128), (97, 257, 129),
      (200, 513, 31),
      (3, 0, 4), (0, 5, 4), (4, 5, 0), (13, 1000, 300),
    ])
  func sizes(rows: Int, depth: Int, columns: Int) {
    let a = numbers(rows * depth, seed: 1)
    let b = numbers(depth * columns, seed: 2)
    let c = numbers(rows * columns, seed: 3)
    let zeros = [Float](repeating: 0, count: c.count)
    // Rounding of a sum grows with the root of its terms.
    let tolerance = 1e-6 * Double(max(depth, 1)).squareRoot()
    func expectClose(_ actual: [Float], _ expected: [Double]) {
      #expect(actual.count == expected.count)
      #expect(zip(actual, expected).allSatisfy { abs(Double($0) - $1) < tolerance })
    }
    let plain = exact(a, b, zeros, rows, depth, columns)
    let first = product(a, b, rows: rows, depth: depth, columns: columns)
    expectClose(first, plain)
    for set in InstructionSet.ofThisProcessor {
      let other = product(
        a, b, rows: rows, depth: depth, columns: columns, instructions: set)
      #expect(other == first, "\(set)")
    }
    #expect(
      product(a, b, rows: rows, depth: depth, columns: columns, isTransposed: true, threads: 3)
        == first)
    expectClose(
      product(a, b, rows: rows, depth: depth, columns: columns, adding: c, threads: 2),
      exact(a, b, c, rows, depth, columns))
  }
}
