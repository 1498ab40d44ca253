import Attention
import Tensors

/// What becomes of inputs before they are computed with; plain code for the oracle, which shares
/// nothing with packing and kernels.
struct InputRounding {
  /// The type in which keys and values travel.
  let wire: WireType
  /// What products are computed of.
  let arithmetic: Arithmetic

  /// Inputs as they are.
  static let none = InputRounding(wire: .f32, arithmetic: .f32)

  /// Whether all inputs stay as they are.
  var isExact: Bool { wire == .f32 && arithmetic == .f32 }

  /// What is left of keys or values.
  ///
  /// - Parameter columns: the length of a row of one head.
  func keys(_ numbers: [Float], columns: Int) -> [Double] {
    rows(wire.rounded(numbers, columns: columns))
  }

  /// What is left of queries or gradients of outputs, which travel as they are.
  func rows(_ numbers: [Double]) -> [Double] {
    arithmetic == .f32 ? numbers : numbers.map { Double(Float(BFloat16(Float($0)))) }
  }

  /// How far a factor of a product may be from the number that it stands for, as a part of it: half
  /// a unit in the last of the 8 bits of a bf16 number.
  var factorError: Double { arithmetic == .f32 ? 0 : 0x1p-8 }
}

extension ShardedProblem {
  /// What becomes of its inputs.
  var inputRounding: InputRounding { InputRounding(wire: wire, arithmetic: arithmetic) }
}
