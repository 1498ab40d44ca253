import Glibc
import Tensors

/// What the backward pass has to know of rows besides their queries and the gradients of their
/// outputs, each `[batch, queryHeads, tokens]`.
@unsafe
struct BackwardStatistics {
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
  func fill(
    shape: AttentionShape, output: borrowing AttentionOutput,
    outputGradient: borrowing Tensor<Float>
  ) {
    let tokens = output.o.shape[1]
    precondition(outputGradient.shape == output.o.shape, "do has not the shape of o")
    precondition(
      output.o.shape == [shape.batch, tokens, shape.queryHeads, shape.valueHeadDim]
        && output.lse.shape == [shape.batch, shape.queryHeads, tokens],
      "the output of another problem")
    shape.forEachRow(tokens: tokens) { row, first in
      unsafe delta[row] = dot(
        output.o.span.extracting(first..<first + shape.valueHeadDim),
        outputGradient.span.extracting(first..<first + shape.valueHeadDim))
      let logSumExp = Double(output.lse.span[row]) + Double(output.lseRemainder.span[row])
      if logSumExp == -.infinity {
        unsafe (lse[row], lseRemainder[row]) = (.infinity, 0)
      } else {
        unsafe (lse[row], lseRemainder[row]) = split(logSumExp * M_LOG2E)
      }
    }
  }
}

/// A number rounded, and what rounding took.
func split(_ exact: Double) -> (Float, remainder: Float) {
  let rounded = Float(exact)
  return (rounded, Float(exact - Double(rounded)))
}

/// The dot product of two rows, eight partial sums at a time.
private func dot(_ a: Span<Float>, _ b: Span<Float>) -> Float {
  unsafe a.withUnsafeBufferPointer { a in
    unsafe b.withUnsafeBufferPointer { b in
      guard let first = a.baseAddress, let second = b.baseAddress else { return 0 }
      var sum = Vector()
      var index = 0
      while index + Vector.width <= a.count {
        unsafe sum.addProduct(
          Vector(loading: first, at: index), Vector(loading: second, at: index))
        index += Vector.width
      }
      var rest = sum.laneSum
      while index < a.count {
        unsafe rest += first[index] * second[index]
        index += 1
      }
      return rest
    }
  }
}
