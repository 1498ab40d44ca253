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

  @Test("few and many rows, of every form and instruction set", arguments: WeightType.allCases)
  func products(_ type: WeightType) throws {
    let outputs = 37
    for inputs in type.blockLength == 1 ? [45, 256] : [512] {
      let (bytes, weights) = try tensor(type, outputs, inputs)
      let matrix = StoredMatrix(
        type: type, outputs: outputs, inputs: inputs, memory: bytes)
      for (rows, threads, arithmetic) in [
        (1, 2, Arithmetic.bf16), (2, 1, .f32), (5, 2, .f32), (12, 2, .f32), (50, 3, .f32),
        (15, 2, .bf16), (33, 2, .bf16), (50, 3, .bf16),
      ] {
        // Of few rows products are those of F32.
        let rounds = arithmetic == .bf16 && rows >= WeightProduct.manyRows
        func rounded(_ numbers: [Float]) -> [Float] {
          rounds ? numbers.map { Float(BFloat16($0)) } : numbers
        }
        let a = (0..<rows * inputs).map { Float($0 * 7 % 23) / 11 - 1 }
        let (factors, weights) = (rounded(a), rounded(weights))
        for set in InstructionSet.ofThisProcessor {
          let products = LinearProducts(
            team: ThreadTeam(threads: threads), arithmetic: arithmetic, instructions: set)
          // Twice the same matrix, and a row more at the end that must stay as it is.
          var c = [Float](repeating: 3, count: rows * 2 * outputs)
          var span = c.mutableSpan
          products.multiply(
            a.span, rows: rows, by: [matrix, matrix], into: &span, adding: rows == 5)
          for row in 0..<rows {
            for output in 0..<outputs {
              var (sum, size) = (rows == 5 ? 3.0 : 0.0, 3.0)
              for index in 0..<inputs {
                let product =
                  Double(factors[row * inputs + index]) * Double(weights[output * inputs + index])
                sum += product
                size += abs(product)
              }
              for copy in 0..<2 {
                let found = Double(c[(row * 2 + copy) * outputs + output])
                #expect(
                  abs(found - sum) <= 1e-6 * size,
                  "\(type) \(rows) rows, \(set), \(arithmetic): \(found), \(sum)")
              }
            }
          }
        }
      }
    }
  }
}
