import Attention
import Tensors

extension WireType {
  /// What is left of some numbers when they travel in this form; plain code for the oracle, which
  /// shares nothing with the packing.
  ///
  /// - Parameter columns: the length of a row of one head, which has one scale in int8.
  func rounded(_ numbers: [Float], columns: Int) -> [Double] {
    switch self {
    case .f32: numbers.map { Double($0) }
    case .f16: numbers.map { Double(Float16($0)) }
    case .bf16: numbers.map { Double(Float(BFloat16($0))) }
    case .int8:
      stride(from: 0, to: numbers.count, by: columns).flatMap { first in
        let row = numbers[first..<first + columns].map { Double($0) }
        let exactScale = Double(Float((row.map { abs($0) }.max() ?? 0) / 127))
        guard exactScale > 0 else { return row }
        // Up to 17 significant bits, so that its multiples by 127 are floats.
        let unit = Double(sign: .plus, exponent: exactScale.exponent - 16, significand: 1)
        let scale = (exactScale / unit).rounded(.up) * unit
        return row.map { ($0 / scale).rounded(.toNearestOrEven) * scale }
      }
    }
  }
}
