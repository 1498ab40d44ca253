import Glibc

/// Attention in `Float` as anybody would write it.
///
/// There are loops, `expf`, and a row of scores at a time. What its errors are, single precision is
/// worth; kernels are measured by them.
struct PlainAttention {
  let tokens: Int
  let keyTokens: Int
  let queryHeads: Int
  let kvHeads: Int
  let headDim: Int
  let scale: Float
  /// Whether a query sees a key.
  let sees: (_ query: Int, _ key: Int) -> Bool

  private func dot(_ a: [Float], _ i: Int, _ b: [Float], _ j: Int) -> Float {
    var sum: Float = 0
    for d in 0..<headDim { sum += a[i + d] * b[j + d] }
    return sum
  }

  /// `o` `[tokens, queryHeads, headDim]` and `lse` `[queryHeads, tokens]`.
  func forward(q: [Float], k: [Float], v: [Float]) -> (o: [Float], lse: [Float]) {
    var o = [Float](repeating: 0, count: q.count)
    var lse = [Float](repeating: -.infinity, count: queryHeads * tokens)
    var scores = [Float](repeating: 0, count: keyTokens)
    for h in 0..<queryHeads {
      let kvHead = h / (queryHeads / kvHeads)
      for i in 0..<tokens {
        let row = (i * queryHeads + h) * headDim
        var largest = -Float.infinity
        for j in 0..<keyTokens {
          scores[j] =
            sees(i, j) ? scale * dot(q, row, k, (j * kvHeads + kvHead) * headDim) : -.infinity
          largest = max(largest, scores[j])
        }
        if largest == -.infinity { continue }
        var sum: Float = 0
        for j in 0..<keyTokens {
          let weight = expf(scores[j] - largest)
          sum += weight
          let value = (j * kvHeads + kvHead) * headDim
          for d in 0..<headDim { o[row + d] += weight * v[value + d] }
        }
        for d in 0..<headDim { o[row + d] /= sum }
        lse[h * tokens + i] = largest + logf(sum)
      }
    }
    return (o, lse)
  }

  /// Gradients of `Σ do · o` in the shapes of `q`, `k` and `v`.
  func backward(
    q: [Float], k: [Float], v: [Float], outputGradient: [Float]
  ) -> (dq: [Float], dk: [Float], dv: [Float]) {
    let (o, lse) = forward(q: q, k: k, v: v)
    var dq = [Float](repeating: 0, count: q.count)
    var dk = [Float](repeating: 0, count: k.count)
    var dv = [Float](repeating: 0, count: v.count)
    for h in 0..<queryHeads {
      let kvHead = h / (queryHeads / kvHeads)
      for i in 0..<tokens {
        let row = (i * queryHeads + h) * headDim
        let delta = dot(outputGradient, row, o, row)
        for j in 0..<keyTokens where sees(i, j) {
          let key = (j * kvHeads + kvHead) * headDim
          let weight = expf(scale * dot(q, row, k, key) - lse[h * tokens + i])
          let change = weight * (dot(outputGradient, row, v, key) - delta) * scale
          for d in 0..<headDim {
            dv[key + d] += weight * outputGradient[row + d]
            dq[row + d] += change * k[key + d]
            dk[key + d] += change * q[row + d]
          }
        }
      }
    }
    return (dq, dk, dv)
  }
}
