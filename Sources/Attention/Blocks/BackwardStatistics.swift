import AttentionTypes
import Compute
import Glibc
import Tensors

/// What the backward pass has to know of rows besides their queries and the gradients of their
/// outputs, each `[batch, queryHeads, tokens]`.
@unsafe
struct BackwardStatistics: @unchecked Sendable {
  /// In base 2, +∞ for rows that saw no key.
  let lse: UnsafeMutablePointer<Float>
  /// What rounding took from `lse`.
  let lseRemainder: UnsafeMutablePointer<Float>
  /// `Σ do ∘ o`.
  let delta: UnsafeMutablePointer<Float>

  /// Computes them.
  ///
  /// - Parameters:
  ///   - output: what the forward pass gave for the rows, over all keys.
  ///   - outputGradient: `do`, of the shape of `o`.
  ///   - arithmetic: that of the products: Δ is of the numbers that they are computed of, or the
  ///     gradients of a row's scores would not sum up to zero.
  func fill(
    shape: AttentionShape, output: borrowing AttentionOutput,
    outputGradient: borrowing Tensor<Float>, arithmetic: Arithmetic, team: ThreadTeam
  ) {
    let tokens = output.o.shape[1]
    precondition(outputGradient.shape == output.o.shape, "do has not the shape of o")
    precondition(
      output.o.shape == [shape.batch, tokens, shape.queryHeads, shape.valueHeadDim]
        && output.lse.shape == [shape.batch, shape.queryHeads, tokens],
      "the output of another problem")
    nonisolated(unsafe) let o = unsafe UnsafePointer(output.o.unsafeBaseAddress)
    nonisolated(unsafe) let gradient = unsafe UnsafePointer(outputGradient.unsafeBaseAddress)
    nonisolated(unsafe) let rounded = unsafe UnsafePointer(output.lse.unsafeBaseAddress)
    nonisolated(unsafe) let rest = unsafe UnsafePointer(output.lseRemainder.unsafeBaseAddress)
    team.forEachPart(
      of: shape.batch * tokens, cost: 2 * shape.queryHeads * shape.valueHeadDim
    ) { part in
      shape.forEachRow(tokens: tokens, in: part) { row, first in
        unsafe delta[row] =
          arithmetic == .bf16
          ? dot(o + first, rounding: gradient + first, count: shape.valueHeadDim)
          : dot(o + first, gradient + first, count: shape.valueHeadDim)
        let logSumExp = unsafe Double(rounded[row]) + Double(rest[row])
        if logSumExp == -.infinity {
          unsafe (lse[row], lseRemainder[row]) = (.infinity, 0)
        } else {
          unsafe (lse[row], lseRemainder[row]) = split(logSumExp * M_LOG2E)
        }
      }
    }
  }
}

/// A number rounded, and what rounding took.
func split(_ exact: Double) -> (Float, remainder: Float) {
  let rounded = Float(exact)
  return (rounded, Float(exact - Double(rounded)))
}

/// The dot product of two rows, a vector of partial sums at a time.
@unsafe
private func dot(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, count: Int) -> Float {
  var sum = Vector()
  var index = 0
  while index + Vector.width <= count {
    unsafe sum.addProduct(Vector(loading: a, at: index), Vector(loading: b, at: index))
    index += Vector.width
  }
  var rest = sum.laneSum
  while index < count {
    unsafe rest += a[index] * b[index]
    index += 1
  }
  return rest
}

/// The same with the second row rounded to bf16.
@unsafe
private func dot(
  _ a: UnsafePointer<Float>, rounding b: UnsafePointer<Float>, count: Int
) -> Float {
  unsafe withUnsafeTemporaryAllocation(of: Float.self, capacity: count) { rounded in
    for index in 0..<count { unsafe rounded[index] = Float(BFloat16(b[index])) }
    guard let rounded = rounded.baseAddress else { return 0 }
    return unsafe dot(a, rounded, count: count)
  }
}
