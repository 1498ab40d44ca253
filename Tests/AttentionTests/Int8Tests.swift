import Attention
import Tensors
import Testing

/// Rows of integers times a scale, by the definition.
enum Int8Rows {
  /// A row as integers and their scale, by the definition: `max|x| / 127`, rounded up to 17
  /// significant bits.
  static func quantised(_ row: [Float]) -> (integers: [Int8], scale: Float) {
    let quotient = (row.map { abs($0) }.max() ?? 0) / 127
    let unit = quotient.ulp * 128
    let scale = (quotient / unit).rounded(.up) * unit
    guard scale > 0 else { return (row.map { _ in 0 }, 0) }
    return (row.map { Int8((Double($0) / Double(scale)).rounded(.toNearestOrEven)) }, scale)
  }

  /// What rows of `columns` numbers stand for once they are quantised.
  static func roundTrip(_ numbers: [Float], columns: Int) -> [Float] {
    stride(from: 0, to: numbers.count, by: columns).flatMap { first in
      let (integers, scale) = quantised(Array(numbers[first..<first + columns]))
      return integers.map { Float($0) * scale }
    }
  }
}

@Suite("Keys and values in int8")
struct Int8Tests {
  private func bytes(_ block: borrowing KeyValueBlock) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: block.byteCount)
    unsafe bytes.withUnsafeMutableBytes {
      unsafe block.copy(kvHeads: 0..<block.shape.kvHeads, to: $0)
    }
    return bytes
  }

  /// The problem whose keys and values are what is left of them in int8.
  private func rounded(_ problem: Problem) -> Problem {
    var rounded = problem
    rounded.k = Int8Rows.roundTrip(problem.k, columns: problem.shape.headDim)
    rounded.v = Int8Rows.roundTrip(problem.v, columns: problem.shape.valueHeadDim)
    return rounded
  }

  private func causal(_ i: Int, _ j: Int, _ h: Int) -> Double { j <= i ? 0 : -.infinity }

  @Test(
    "equal blocks of quantised floats, bit for bit",
    arguments: [
      (1, 1), (4, 3), (16, 16), (20, 12), (33, 40), (64, 64), (128, 100), (256, 256), (576, 512),
    ])
  func sameBits(headDim: Int, valueHeadDim: Int) {
    let problem = Problem(
      batch: 2, tokens: 217, queryHeads: 4, kvHeads: 2, headDim: headDim,
      valueHeadDim: valueHeadDim)
    let wide = rounded(problem)
    let runs = [PositionRange(150..<217), PositionRange(0..<150)]
    let narrow = problem.computed(pattern: CausalPattern(), blocks: [runs], elementType: .int8)
    let expected = wide.computed(pattern: CausalPattern(), blocks: [runs])
    #expect(same(narrow.o, expected.o) && same(narrow.lse, expected.lse))
    let gradients = problem.computedGradients(
      pattern: CausalPattern(), blocks: [runs], elementType: .int8)
    let expectedGradients = wide.computedGradients(pattern: CausalPattern(), blocks: [runs])
    #expect(same(gradients.dq, expectedGradients.dq))
    #expect(same(gradients.dk, expectedGradients.dk))
    #expect(same(gradients.dv, expectedGradients.dv))
  }

  @Test("forward and backward against the oracle on what the integers stand for")
  func oracle() {
    let problem = Problem(tokens: 150, keyTokens: 203, queryHeads: 6, kvHeads: 2, headDim: 40)
    let wide = rounded(problem)
    let result = problem.computed(pattern: CausalPattern(), elementType: .int8)
    let expected = wide.expected(bias: causal)
    #expect(relativeError(result.o, expected.o) < 1e-5)
    #expect(relativeError(result.lse, expected.lse) < 1e-5)
    // Not what the numbers were before: the test would see inputs that were not quantised.
    #expect(relativeError(result.o, problem.expected(bias: causal).o) > 1e-4)
    let gradients = problem.computedGradients(pattern: CausalPattern(), elementType: .int8)
    let expectedGradients = wide.expectedGradients(bias: causal)
    #expect(relativeError(gradients.dq, expectedGradients.dq) < 1e-5)
    #expect(relativeError(gradients.dk, expectedGradients.dk) < 1e-5)
    #expect(relativeError(gradients.dv, expectedGradients.dv) < 1e-5)
  }

  @Test("integers and scales lie where they are said to, each off by half a scale at most")
  func layout() {
    let (keys, columns, valueColumns) = (85, 40, 24)
    var problem = Problem(tokens: keys, headDim: columns, valueHeadDim: valueColumns)
    // Magnitudes from where scales are still normal numbers to the largest, and a row of zeros.
    for token in 0..<keys {
      let factor =
        token == 7 ? 0 : Float(sign: .plus, exponent: token * 17 / 6 - 112, significand: 1)
      for d in 0..<columns { problem.k[token * columns + d] *= factor }
    }
    problem.k[84 * columns] = .greatestFiniteMagnitude
    let block = problem.keyValueBlock(runs: [PositionRange(0..<keys)], elementType: .int8)
    let bytes = bytes(block)
    #expect(bytes.count == keys * (columns + valueColumns + 8))
    #expect(block.byteCount == bytes.count)
    func scale(_ index: Int) -> Float {
      let first = keys * (columns + valueColumns) + index * 4
      let bits = (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[first + $1]) << UInt32(8 * $1) }
      return Float(bitPattern: bits)
    }
    let width = 16
    func expectClose(_ place: Int, _ scale: Float, _ number: Float) {
      let value = Float(Int8(bitPattern: bytes[place])) * scale
      #expect(value.isFinite && abs(Double(value) - Double(number)) <= Double(scale) / 2)
    }
    for token in 0..<keys {
      let key = Array(problem.k[token * columns..<(token + 1) * columns])
      let exact = Double(key.map { abs($0) }.max() ?? 0) / 127
      #expect(abs(Double(scale(token)) - exact) <= exact * 0x1p-16)
      let first = token / width * width
      for d in 0..<columns {
        expectClose(
          first * columns + d * min(width, keys - first) + token - first, scale(token), key[d])
      }
      for d in 0..<valueColumns {
        let first = d / width * width
        expectClose(
          keys * (columns + first) + token * min(width, valueColumns - first) + d - first,
          scale(keys + token), problem.v[token * valueColumns + d])
      }
    }
    #expect(scale(7) == 0)
    #expect((0..<columns).allSatisfy { bytes[7 + $0 * width] == 0 })
  }

  @Test("quantising what has been quantised changes nothing")
  func idempotence() {
    let problem = Problem(tokens: 3001, kvHeads: 1, headDim: 24, valueHeadDim: 9)
    let runs = [PositionRange(0..<3001)]
    let once = bytes(problem.keyValueBlock(runs: runs, elementType: .int8))
    let twice = bytes(rounded(problem).keyValueBlock(runs: runs, elementType: .int8))
    #expect(same(once, twice))
  }

  @Test("rows of zeros give scores and values of zero")
  func zeroRows() {
    var problem = Problem(tokens: 60, headDim: 20)
    for token in [0, 5, 59] {
      for d in 0..<20 { (problem.k[token * 20 + d], problem.v[token * 20 + d]) = (0, 0) }
    }
    let result = problem.computed(pattern: CausalPattern(), elementType: .int8)
    #expect(result.o[..<20].allSatisfy { $0 == 0 } && result.lse[0] == 0)
    #expect(relativeError(result.o, rounded(problem).expected(bias: causal).o) < 1e-5)
  }

  @Test("blocks put one after the other are the block of all their runs; pieces make a whole")
  func concatenation() {
    let problem = Problem(batch: 2, tokens: 130, queryHeads: 2, kvHeads: 2, headDim: 20)
    let runs = [PositionRange(80..<130), PositionRange(start: 0, stride: 2, count: 33)]
    let whole = bytes(problem.keyValueBlock(runs: runs, elementType: .int8))
    let parts = runs.map { bytes(problem.keyValueBlock(runs: [$0], elementType: .int8)) }
    #expect(same(whole, parts[0] + parts[1]))

    var pieces = KeyValueBlock(
      shape: problem.shape, elementType: .int8, runs: [PositionRange(0..<130)])
    for batch in 0..<2 {
      for piece in [90..<130, 0..<37, 37..<90] {
        let rows = (batch * 130 + piece.lowerBound) * 40..<(batch * 130 + piece.upperBound) * 40
        pieces.packKeys(
          problem.k.span.extracting(rows), batch: batch, run: 0, from: piece.lowerBound)
        pieces.packValues(
          problem.v.span.extracting(rows), batch: batch, run: 0, from: piece.lowerBound)
      }
    }
    let one = problem.keyValueBlock(runs: [PositionRange(0..<130)], elementType: .int8)
    #expect(same(bytes(pieces), bytes(one)))
  }
}
