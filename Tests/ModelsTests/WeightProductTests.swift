import AttentionTypes
import Compute
import KernelSets
import Models
import Tensors
import Testing

/// Products with stored weights, of random bytes in every form.
@Suite struct WeightProductTests {
  /// Random rows of a form, whose scales are numbers of about 1.
  private func tensor(
    _ type: WeightType, _ rows: Int, _ columns: Int
  ) throws -> (bytes: SharedBytes, numbers: [Float]) {
    let count = try #require(type.byteCount(rows * columns))
    var state: UInt64 = 42
    func byte() -> UInt8 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      // Neither exponents of half precision nor of bf16 and F32 become those of NaN.
      return UInt8(state >> 40 & 0xBB)
    }
    var bytes = AlignedBuffer<UInt8>(zeros: count)
    for index in 0..<count { bytes[index] = byte() }
    var numbers = AlignedBuffer<Float>(zeros: rows * columns)
    var span = numbers.mutableSpan
    let shared = SharedBytes(bytes)
    type.decode(shared.bytes, into: &span)
    return (shared, (0..<rows * columns).map { numbers[$0] })
  }

  /// What rows of so many numbers are rounded to.
  private func rounded(
    _ numbers: [Float], to arithmetic: ProductArithmetic, columns: Int
  ) -> [Double] {
    switch arithmetic {
    case .f32: return numbers.map(Double.init)
    case .bf16: return numbers.map { Double(Float(BFloat16($0))) }
    case .int8:
      return numbers.indices.map { index in
        let (row, column) = index.quotientAndRemainder(dividingBy: columns)
        let first = column / 32 * 32
        let neighbours = numbers[row * columns + first..<row * columns + min(first + 32, columns)]
        let largest = neighbours.map(\.magnitude).reduce(0, max)
        if largest < 1e-30 { return 0 }
        let level = (Double(numbers[index]) * Double(127 / largest)).rounded(.toNearestOrEven)
        return level * Double(largest / 127)
      }
    }
  }

  @Test("few and many rows, of every form and instruction set", arguments: WeightType.allCases)
  func products(_ type: WeightType) throws {
    let outputs = 37
    for inputs in type.blockLength == 1 ? [45, 256] : [512] {
      let (bytes, weights) = try tensor(type, outputs, inputs)
      let matrix = StoredMatrix(
        type: type, outputs: outputs, inputs: inputs, memory: bytes)
      for (rows, threads, arithmetic) in [
        (1, 2, ProductArithmetic?.none), (2, 1, nil), (5, 2, nil), (12, 2, nil), (15, 2, nil),
        (50, 3, nil), (5, 2, .f32), (1, 1, .bf16), (33, 2, .bf16), (50, 3, .bf16), (2, 1, .int8),
        (50, 3, .int8),
      ] {
        // A row of thirty-two zeros somewhere.
        let a = (0..<rows * inputs).map { 32..<64 ~= $0 ? 0 : Float($0 * 7 % 23) / 11 - 1 }
        let used = arithmetic ?? .f32
        let factors = rounded(a, to: used, columns: inputs)
        let weights = rounded(weights, to: used, columns: inputs)
        for set in InstructionSet.ofThisProcessor {
          let products = LinearProducts(
            team: ThreadTeam(threads: threads), instructions: set)
          // Twice the same matrix, and a row more at the end that must stay as it is.
          var c = [Float](repeating: 3, count: rows * 2 * outputs)
          var span = c.mutableSpan
          products.multiply(
            a.span, rows: rows, by: [matrix, matrix], into: &span, adding: rows == 5,
            of: arithmetic)
          for row in 0..<rows {
            for output in 0..<outputs {
              var (sum, size) = (rows == 5 ? 3.0 : 0.0, 3.0)
              for index in 0..<inputs {
                let product = factors[row * inputs + index] * weights[output * inputs + index]
                sum += product
                size += abs(product)
              }
              for copy in 0..<2 {
                let found = Double(c[(row * 2 + copy) * outputs + output])
                #expect(
                  abs(found - sum) <= 1e-6 * size,
                  "\(type) \(rows) rows, \(set), \(used): \(found), \(sum)")
              }
            }
          }
        }
      }
    }
  }

  @Test("where an arithmetic is given, a row has the same bits among any others")
  func rowsAlone() throws {
    let (outputs, inputs, rows) = (37, 300, 40)
    let (bytes, _) = try tensor(.f16, outputs, inputs)
    let matrix = StoredMatrix(type: .f16, outputs: outputs, inputs: inputs, memory: bytes)
    let a = (0..<rows * inputs).map { Float($0 * 7 % 23) / 11 - 1 }
    for arithmetic in ProductArithmetic.allCases {
      for set in InstructionSet.ofThisProcessor {
        let products = LinearProducts(team: ThreadTeam(threads: 2), instructions: set)
        func product(_ range: Range<Int>) -> [Float] {
          var c = [Float](repeating: 1, count: range.count * outputs)
          var span = c.mutableSpan
          products.multiply(
            a.span.extracting(range.lowerBound * inputs..<range.upperBound * inputs),
            rows: range.count, by: [matrix], into: &span, adding: true, of: arithmetic)
          return c
        }
        let all = product(0..<rows)
        for (first, end) in [(3, 4), (4, 11), (11, 40)] {
          #expect(
            product(first..<end) == Array(all[first * outputs..<end * outputs]),
            "\(arithmetic), \(set), rows \(first) to \(end)")
        }
      }
    }
  }

  @Test("what is no number stays none in products of eight bits")
  func noNumber() throws {
    let (bytes, _) = try tensor(.q8_0, 32, 64)
    let matrix = StoredMatrix(type: .q8_0, outputs: 32, inputs: 64, memory: bytes)
    let rows = WeightProduct.manyRows + 1
    var a = [Float](repeating: 1, count: rows * 64)
    a[3 * 64 + 40] = .nan
    a[5 * 64 + 1] = .infinity
    for set in InstructionSet.ofThisProcessor {
      let products = LinearProducts(
        team: ThreadTeam(threads: 1), instructions: set)
      var c = [Float](repeating: 0, count: rows * 32)
      var span = c.mutableSpan
      products.multiply(a.span, rows: rows, by: [matrix], into: &span, of: .int8)
      for row in 0..<rows {
        let isFinite = c[row * 32..<row * 32 + 32].allSatisfy(\.isFinite)
        #expect(isFinite == (row != 3 && row != 5), "\(set), row \(row)")
      }
    }
  }
}
