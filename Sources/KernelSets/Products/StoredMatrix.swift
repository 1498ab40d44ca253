import AttentionTypes
public import Compute
public import Tensors

/// A matrix of weights `[outputs, inputs]` that stays as it is stored, in a file that is mapped or
/// in memory: the weights of a linear layer.
public struct StoredMatrix: Sendable {
  /// The form of its weights.
  public let type: WeightType
  /// Rows of weights: columns of a product.
  public let outputs: Int
  /// Weights of a row, which a product sums over.
  public let inputs: Int
  private let memory: SharedBytes

  /// Takes a matrix.
  ///
  /// - Parameter memory: `outputs` rows, each a whole number of blocks, one after the other.
  public init(type: WeightType, outputs: Int, inputs: Int, memory: SharedBytes) {
    precondition(outputs >= 0 && inputs >= 0, "a matrix of \(outputs) × \(inputs)")
    precondition(
      inputs % type.blockLength == 0
        && memory.byteCount == outputs * (inputs / type.blockLength * type.blockBytes),
      "these are not the bytes of \(outputs) × \(inputs) weights of \(type)")
    self.type = type
    self.outputs = outputs
    self.inputs = inputs
    self.memory = memory
  }

  /// Bytes of a row.
  public var rowBytes: Int { inputs / type.blockLength * type.blockBytes }

  /// Bytes of all rows.
  public var byteCount: Int { outputs * rowBytes }

  /// Some of its rows.
  public func rows(_ range: Range<Int>) -> StoredMatrix {
    precondition(range.lowerBound >= 0 && range.upperBound <= outputs, "rows \(range)")
    return StoredMatrix(
      type: type, outputs: range.count, inputs: inputs,
      memory: memory.part(range.lowerBound * rowBytes..<range.upperBound * rowBytes))
  }

  /// The first byte, for as long as the matrix lives.
  @unsafe var base: UnsafeRawPointer {
    unsafe memory.bytes.withUnsafeBytes { bytes in
      // Of no bytes none is read.
      unsafe bytes.baseAddress ?? UnsafeRawPointer(bitPattern: 64).unsafelyUnwrapped
    }
  }

  /// Widens one row of weights.
  ///
  /// - Parameter numbers: room for ``inputs`` of them.
  public func widen(row: Int, into numbers: inout MutableSpan<Float>) {
    precondition(row >= 0 && row < outputs && numbers.count == inputs, "row \(row)")
    unsafe numbers.withUnsafeMutableBufferPointer {
      guard let target = $0.baseAddress else { return }
      InstructionSet.inUse.kernels.widen(
        unsafe StoredRow(
          weights: base + row * rowBytes, type: type, depth: inputs, target: target))
    }
  }
}

/// Multiplies rows of activations by matrices of stored weights, with memory that is kept from
/// product to product.
public final class LinearProducts {
  private let team: ThreadTeam
  private let kernels: any KernelSet.Type
  private var scratch = AlignedBuffer<Float>(zeros: 0)

  /// Prepares products.
  public init(team: ThreadTeam, instructions: InstructionSet = .inUse) {
    self.team = team
    kernels = instructions.kernels
  }

  /// The bytes of scratch for products of at most so many rows.
  public static func scratchBytes(rows: Int, inputs: Int, arithmetic: ProductArithmetic?) -> Int {
    4 * WeightProduct.scratchCount(rows: rows, depth: inputs, arithmetic: arithmetic)
  }

  /// Computes `C = A · [W₁ᵀ W₂ᵀ …]`, or `C += …`, for matrices of equally long rows.
  ///
  /// Of a few rows each byte of the weights is read once and widened in registers. Of many, and
  /// wherever an arithmetic is given, tiles of weights are widened once for all rows. Sums are in
  /// `Float`, the same bits for any number of threads; those of few rows have another order than
  /// those of many.
  ///
  /// - Parameters:
  ///   - a: `[rows, inputs]`.
  ///   - matrices: at least one.
  ///   - c: `[rows, outputs of all matrices]`, those of the first matrix first.
  ///   - adding: whether what is in `c` is kept and added to.
  ///   - arithmetic: what the products are computed of, the same bits for a row whatever others
  ///     there are; nil for `Float` in the way that takes least time for so many rows.
  ///   - poll: as in ``ThreadTeam/run(_:poll:)``, with multiply–adds.
  /// - Complexity: `2 · rows · inputs · outputs` floating-point operations, shared among the
  ///   threads.
  public func multiply(
    _ a: borrowing Span<Float>, rows: Int, by matrices: [StoredMatrix],
    into c: inout MutableSpan<Float>, adding: Bool = false, of arithmetic: ProductArithmetic? = nil,
    poll: (_ work: Int) -> Void = { _ in }
  ) {
    let depth = matrices[0].inputs
    let width = matrices.reduce(0) { $0 + $1.outputs }
    precondition(matrices.allSatisfy { $0.inputs == depth }, "matrices of other inputs")
    precondition(a.count == rows * depth, "A has \(a.count) numbers, not \(rows) × \(depth)")
    precondition(c.count == rows * width, "C has \(c.count) numbers, not \(rows) × \(width)")
    if c.count == 0 { return }
    let needed = WeightProduct.scratchCount(rows: rows, depth: depth, arithmetic: arithmetic)
    if scratch.count < needed { scratch = AlignedBuffer(zeros: needed) }
    unsafe a.withUnsafeBufferPointer { a in
      unsafe c.withUnsafeMutableBufferPointer { c in
        guard let a = a.baseAddress, let c = c.baseAddress else { return }
        var column = 0
        var factors: [WeightProduct.Factor] = []
        for matrix in matrices {
          unsafe factors.append(
            WeightProduct.Factor(
              weights: matrix.base, type: matrix.type, outputs: matrix.outputs, c: c + column,
              stride: width))
          column += matrix.outputs
        }
        kernels.multiply(
          unsafe WeightProduct(
            a: a, rows: rows, depth: depth, factors: factors, adding: adding,
            arithmetic: arithmetic, scratch: scratch.unsafeBaseAddress), team: team, poll: poll)
      }
    }
  }
}
