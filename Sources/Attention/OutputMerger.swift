import Glibc
public import Tensors

/// Attention of the same queries over different keys, added up to attention over all of them.
///
/// The merge is that of the online softmax: with `lse = ln(exp lse₁ + exp lse₂)` the output is
/// `exp(lse₁ − lse) · o₁ + exp(lse₂ − lse) · o₂`. Nothing seen, output 0 and log-sum-exp −∞, is its
/// identity. A key that is in both counts twice.
public struct OutputMerger: ~Copyable {
  /// `[batch, tokens, heads, valueHeadDim]`.
  private var o: Tensor<Float>
  /// `[batch, heads, tokens]`.
  private var lse: Tensor<Double>

  /// Starts with queries that have seen nothing.
  public init(batch: Int, tokens: Int, heads: Int, valueHeadDim: Int) {
    o = Tensor(zeros: [batch, tokens, heads, valueHeadDim])
    lse = Tensor(repeating: -.infinity, shape: [batch, heads, tokens])
  }

  /// Merges some rows, given in the order of tokens, for each token in the order of heads.
  ///
  /// - Parameters:
  ///   - tokens: indices, not positions.
  ///   - output: `[tokens.count, heads.count, valueHeadDim]`; is moved past what is read.
  ///   - logSumExp: `[tokens.count, heads.count]`; is moved past what is read.
  ///   - remainder: what rounding took from `logSumExp`, if that is known; likewise.
  @unsafe
  public mutating func merge(
    batch: Int, tokens: PositionRange, heads: [Int], output: inout UnsafePointer<Float>,
    logSumExp: inout UnsafePointer<Float>, remainder: inout UnsafePointer<Float>?
  ) {
    let shape = o.shape
    let width = shape[3]
    for token in tokens {
      for head in heads {
        var theirs = unsafe Double(logSumExp.pointee)
        unsafe logSumExp += 1
        if let rest = unsafe remainder {
          unsafe theirs += Double(rest.pointee)
          unsafe remainder = rest + 1
        }
        defer { unsafe output += width }
        if theirs == -.infinity { continue }
        let state = unsafe lse.unsafeBaseAddress + (batch * shape[2] + head) * shape[1] + token
        let row =
          unsafe o.unsafeBaseAddress + ((batch * shape[1] + token) * shape[2] + head) * width
        let ours = unsafe state.pointee
        let merged = max(ours, theirs) + log1p(exp(-abs(ours - theirs)))
        let kept = Float(exp(ours - merged))
        let added = Float(exp(theirs - merged))
        for column in 0..<width {
          unsafe row[column] = kept * row[column] + added * output[column]
        }
        unsafe state.pointee = merged
      }
    }
  }

  /// Gives the result away.
  public consuming func finish() -> AttentionOutput {
    let shape = lse.shape
    let rounded = Tensor<Float>(zeros: shape)
    let remainder = Tensor<Float>(zeros: shape)
    for index in 0..<lse.count {
      let exact = lse.span[index]
      let nearest = Float(exact)
      unsafe rounded.unsafeBaseAddress[index] = nearest
      unsafe remainder.unsafeBaseAddress[index] =
        exact == -.infinity ? 0 : Float(exact - Double(nearest))
    }
    return AttentionOutput(o: o, lse: rounded, lseRemainder: remainder)
  }
}
