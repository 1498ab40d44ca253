import Glibc

/// Dilated attention as its closed form has it: which branches a query and a key share.
///
/// Attention over branches that are merged by their softmax denominators is one softmax over scores
/// to which the logarithm of the number of shared branches is added.
public struct ReferenceDilation: Sendable {
  /// The segment length and the dilation rate of each branch.
  public var branches: [(length: Int, rate: Int)]
  /// The offset of a head in a branch of some rate.
  public var offset: @Sendable (_ head: Int, _ rate: Int) -> Int
  /// Whether a query sees no later keys.
  public var isCausal: Bool

  /// Describes the pattern.
  public init(
    branches: [(length: Int, rate: Int)], isCausal: Bool,
    offset: @escaping @Sendable (_ head: Int, _ rate: Int) -> Int
  ) {
    self.branches = branches
    self.offset = offset
    self.isCausal = isCausal
  }

  /// Whether query `i` sees key `j` in one branch.
  public func sees(_ i: Int, _ j: Int, head: Int, branch: Int) -> Bool {
    let (length, rate) = branches[branch]
    if i / length != j / length || (isCausal && j > i) { return false }
    let wanted = offset(head, rate)
    return i % length % rate == wanted && j % length % rate == wanted
  }

  /// What is added to a score: the logarithm of the number of shared branches, −∞ for none.
  public func bias(_ i: Int, _ j: Int, head: Int) -> Double {
    log(Double(branches.indices.count { sees(i, j, head: head, branch: $0) }))
  }
}

extension ReferenceAttention {
  /// The gradients of dilated attention if the weights of its branches were constants: as for the
  /// merged softmax, but with `Δ = do · o` of each branch's own output.
  ///
  /// - Complexity: O(branches · tokens²).
  public func detachedGradients(
    q: [Double], k: [Double], v: [Double], outputGradient: [Double], dilation: ReferenceDilation
  ) -> (dq: [Double], dk: [Double], dv: [Double]) {
    let lse = self(q: q, k: k, v: v) { dilation.bias($0, $1, head: $2) }.lse
    var dq = [Double](repeating: 0, count: q.count)
    var dk = [Double](repeating: 0, count: k.count)
    var dv = [Double](repeating: 0, count: v.count)
    for branch in dilation.branches.indices {
      func sees(_ i: Int, _ j: Int, _ h: Int) -> Bool {
        dilation.sees(i, j, head: h, branch: branch)
      }
      let o = self(q: q, k: k, v: v) { sees($0, $1, $2) ? 0 : -.infinity }.o
      for h in 0..<queryHeads {
        for i in 0..<tokens {
          let query = (i * queryHeads + h) * headDim
          let output = (i * queryHeads + h) * valueHeadDim
          for j in 0..<keyTokens where sees(i, j, h) {
            let key = (j * kvHeads + h * kvHeads / queryHeads) * headDim
            let value = (j * kvHeads + h * kvHeads / queryHeads) * valueHeadDim
            let dot = (0..<headDim).reduce(0.0) { $0 + q[query + $1] * k[key + $1] }
            let weight = exp(scale * dot - lse[h * tokens + i])
            var change = 0.0
            for d in 0..<valueHeadDim {
              change += outputGradient[output + d] * (v[value + d] - o[output + d])
              dv[value + d] += weight * outputGradient[output + d]
            }
            for d in 0..<headDim {
              dq[query + d] += scale * weight * change * k[key + d]
              dk[key + d] += scale * weight * change * q[query + d]
            }
          }
        }
      }
    }
    return (dq, dk, dv)
  }
}
