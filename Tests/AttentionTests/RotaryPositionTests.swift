import Attention
import AttentionReference
import Foundation
import Tensors
import Testing

@Suite("Rotary positions")
struct RotaryPositionTests {
  /// `sin(a · flatIndex + b)`, the inputs of the published golden values.
  private func sines(_ count: Int, _ a: Double, _ b: Double) -> [Double] {
    (0..<count).map { sin(a * Double($0) + b) }
  }

  private func turned(
    _ rows: [Float], by positions: RotaryPositions, heads: Int = 1, headDim: Int,
    at range: PositionRange, backwards: Bool = false
  ) -> [Float] {
    var rows = rows
    var span = rows.mutableSpan
    positions.turn(
      &span, heads: heads, headDim: headDim, positions: range, backwards: backwards)
    return rows
  }

  @Test(
    "causal attention over turned rows gives the golden values",
    arguments: [
      (RotaryPositions.Pairing.interleaved, [0.14341650, 0.23847416, 0.21828292, 0.09260074]),
      (.half, [0.15803959, 0.14118969, 0.05610616, -0.05609214]),
    ])
  func golden(pairing: RotaryPositions.Pairing, expected: [Double]) {
    let (q, k, v) = (sines(24, 0.37, 0.1), sines(24, 0.53, 0.2), sines(24, 0.71, 0.3))
    let positions = RotaryPositions(pairing, columns: 4, tokens: 6)
    let all = PositionRange(0..<6)
    let oracle = ReferenceAttention(
      tokens: 6, keyTokens: 6, headDim: 4, valueHeadDim: 4, scale: 0.5)
    func rows(_ numbers: [Double]) -> [Double] {
      turned(numbers.map { Float($0) }, by: positions, headDim: 4, at: all).map(Double.init)
    }
    let result = oracle(q: rows(q), k: rows(k), v: v) { i, j, _ in j <= i ? 0 : -.infinity }
    for (a, e) in zip(result.o[20...], expected) { #expect(abs(a - e) < 1e-6) }
    // The twin turns them just so, and has the digits.
    let twin = ReferenceRotation(
      frequencies: positions.frequencies, magnitude: 1, isInterleaved: pairing == .interleaved)
    func exact(_ numbers: [Double]) -> [Double] {
      (0..<6).flatMap { twin(Array(numbers[4 * $0..<4 * $0 + 4]), position: Double($0)) }
    }
    let other = oracle(q: exact(q), k: exact(k), v: v) { i, j, _ in j <= i ? 0 : -.infinity }
    for (a, e) in zip(other.o[20...], expected) { #expect(abs(a - e) < 6e-9) }
  }

  @Test(
    "scores depend on the distance alone, also past 2^24, where Float has no odd numbers")
  func shifts() {
    let dim = 64
    let (q, k) = (sines(dim, 0.37, 0.1), sines(dim, 0.53, 0.2))
    for pairing in RotaryPositions.Pairing.allCases {
      let positions = RotaryPositions(pairing, columns: dim, tokens: 1)
      func score(at start: Int) -> Double {
        let query = turned(
          q.map { Float($0) }, by: positions, headDim: dim,
          at: PositionRange(start: start + 7, count: 1))
        let key = turned(
          k.map { Float($0) }, by: positions, headDim: dim,
          at: PositionRange(start: start, count: 1))
        return zip(query, key).reduce(0) { $0 + Double($1.0) * Double($1.1) }
      }
      let near = score(at: 0)
      for start in [1, 1000, 1 << 24 | 1, 1 << 32 | 1] {
        #expect(abs(score(at: start) - near) < 1e-5)
      }
      #expect(abs(score(at: 0) - zip(q, k).reduce(0) { $0 + $1.0 * $1.1 }) > 0.1)
    }
  }

  @Test("a row is turned by its own position, whatever rows are turned with it")
  func alone() {
    let places = [-40, -33, 1_000_003, 5, 5, 6, 1 << 31 | 17, 15, 16, 0, -1]
    let row = sines(30, 0.3, 0.2).map { Float($0) }
    for pairing in RotaryPositions.Pairing.allCases {
      // A vector of pairs and some more.
      let positions = RotaryPositions(pairing, columns: 26, base: 500, tokens: 1)
      let twin = ReferenceRotation(
        frequencies: positions.frequencies, magnitude: 1, isInterleaved: pairing == .interleaved)
      var rows = places.flatMap { _ in row }
      var span = rows.mutableSpan
      positions.turn(&span, heads: 1, headDim: 30, positions: places)
      for (index, place) in places.enumerated() {
        var own = row
        var ownSpan = own.mutableSpan
        positions.turn(&ownSpan, heads: 1, headDim: 30, positions: [place])
        let together = rows[30 * index..<30 * index + 30]
        #expect(Array(together) == own, "\(place)")
        for (a, e) in zip(together, twin(row.map(Double.init), position: Double(place))) {
          #expect(abs(Double(a) - e) < 2e-6, "\(place)")
        }
      }
    }
  }

  @Test("the transpose turns back what it turned, times the magnitude squared; other columns stay")
  func transpose() {
    let scaling = RotaryScaling.yarn(16, trainedLength: 2048)
    for pairing in RotaryPositions.Pairing.allCases {
      let positions = RotaryPositions(pairing, columns: 10, scaling: scaling, tokens: 99)
      let rows = sines(3 * 2 * 13, 0.3, 0.2).map { Float($0) }
      let range = PositionRange(start: 5, stride: 9, count: 3)
      let there = turned(rows, by: positions, heads: 2, headDim: 13, at: range)
      let back = turned(there, by: positions, heads: 2, headDim: 13, at: range, backwards: true)
      let twin = ReferenceRotation(
        frequencies: positions.frequencies, magnitude: positions.magnitude,
        isInterleaved: pairing == .interleaved)
      for row in 0..<6 {
        let head = Array(rows[row * 13..<row * 13 + 13]).map(Double.init)
        for (column, expected) in twin(head, position: Double(range[row / 2])).enumerated() {
          #expect(abs(Double(there[row * 13 + column]) - expected) < 1e-6)
        }
        for column in 0..<13 {
          let factor = column < 10 ? positions.magnitude * positions.magnitude : 1
          let expected = factor * Double(rows[row * 13 + column])
          #expect(abs(Double(back[row * 13 + column]) - expected) < 2e-6)
          if column >= 10 { #expect(there[row * 13 + column] == rows[row * 13 + column]) }
        }
      }
    }
  }

  @Test("published constants of the scalings")
  func constants() {
    func slowest(_ scaling: RotaryScaling, tokens: Int) -> Double {
      RotaryPositions(.half, columns: 128, scaling: scaling, tokens: tokens).frequencies[63]
    }
    /// The base that the slowest of 64 frequencies tells of.
    func base(_ scaling: RotaryScaling, tokens: Int = 1) -> Double {
      pow(slowest(scaling, tokens: tokens), -128.0 / 126)
    }
    #expect(abs(base(.ntk(8)) - 82684.6) < 0.1)
    #expect(abs(base(.dynamicNTK(10, trainedLength: 2048), tokens: 16384) - 759702.2) < 1)
    #expect(abs(base(.dynamicNTK(10, trainedLength: 2048), tokens: 2048) - 10_000) < 1e-6)
    func magnitude(_ scaling: RotaryScaling) -> Double {
      RotaryPositions(.half, columns: 128, scaling: scaling, tokens: 1).magnitude
    }
    #expect(abs(magnitude(.yarn(16, trainedLength: 2048)) - 1.277259) < 1e-6)
    for (scale, expected) in [(8.0, 1.118034), (32, 1.190238), (1, 1), (0.5, 1)] {
      let factors = LongRoPEFactors(
        short: Array(repeating: 1, count: 64), long: Array(repeating: 2, count: 64),
        trainedLength: 4096, scale: scale)
      #expect(abs(magnitude(.longRoPE(factors)) - expected) < 1e-6)
    }
  }

  private struct Table: Decodable {
    let name: String
    let columns: Int
    let base: Double
    let tokens: Int
    let numbers: [Double]
    let short: [Double]?
    let long: [Double]?
    let magnitude: Double
    let frequencies: [Double]

    var scaling: RotaryScaling {
      switch name {
      case "linear": .linear(numbers[0])
      case "dynamic-ntk": .dynamicNTK(numbers[0], trainedLength: numbers[1])
      case "yarn": .yarn(numbers[0], trainedLength: numbers[1])
      case "llama3":
        .llama3(numbers[0], low: numbers[1], high: numbers[2], trainedLength: numbers[3])
      case "longrope":
        .longRoPE(
          LongRoPEFactors(
            short: short ?? [], long: long ?? [], trainedLength: numbers[1], scale: numbers[0]))
      default: .none
      }
    }
  }

  @Test("frequencies are those of Hugging Face Transformers")
  func tables() throws {
    let file = URL(filePath: #filePath).deletingLastPathComponent()
      .appending(path: "rope-tables.json")
    let tables = try JSONDecoder().decode([Table].self, from: Data(contentsOf: file))
    #expect(Set(tables.map(\.name)).count == 6)
    for table in tables {
      let positions = RotaryPositions(
        .half, columns: table.columns, base: table.base, scaling: table.scaling,
        tokens: table.tokens)
      #expect(positions.frequencies.count == table.frequencies.count)
      for (a, e) in zip(positions.frequencies, table.frequencies) {
        #expect(abs(a / e - 1) < 2e-6, "\(table.name)")
      }
      #expect(abs(positions.magnitude - table.magnitude) < 1e-6, "\(table.name)")
    }
  }
}
