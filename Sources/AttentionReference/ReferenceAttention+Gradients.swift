import Glibc

extension ReferenceAttention {
  /// Computes the gradients of `Σ do · o` by the chain rule through the softmax, score by score.
  ///
  /// With `p_ij` the weights and `Δ_i = do_i · o_i`: `dv_j = Σ_i p_ij do_i`,
  /// `ds_ij = p_ij (do_i · v_j − Δ_i) f′_ij`, `dq_i = scale Σ_j ds_ij k_j`,
  /// `dk_j = scale Σ_i ds_ij q_i`; a KV head's gradients are summed over the query heads that read
  /// it.
  ///
  /// - Parameters:
  ///   - q: `[batch, tokens, queryHeads, headDim]`.
  ///   - k: `[batch, keyTokens, kvHeads, headDim]`.
  ///   - v: `[batch, keyTokens, kvHeads, valueHeadDim]`.
  ///   - outputGradient: `do`, `[batch, tokens, queryHeads, valueHeadDim]`.
  ///   - bias: added to the score; −∞ hides the key.
  /// - Returns: gradients in the shapes of `q`, `k` and `v`.
  /// - Complexity: O(tokens · keyTokens).
  public func gradients(
    q: [Double], k: [Double], v: [Double], outputGradient: [Double],
    bias: (_ b: Int, _ i: Int, _ j: Int, _ h: Int) -> Double
  ) -> (dq: [Double], dk: [Double], dv: [Double]) {
    let (o, lse) = self(q: q, k: k, v: v, bias: bias)
    var dq = [Double](repeating: 0, count: q.count)
    var dk = [Double](repeating: 0, count: k.count)
    var dv = [Double](repeating: 0, count: v.count)
    for b in 0..<batch {
      for h in 0..<queryHeads {
        let kvHead = h * kvHeads / queryHeads
        for i in 0..<tokens {
          let query = ((b * tokens + i) * queryHeads + h) * headDim
          let output = ((b * tokens + i) * queryHeads + h) * valueHeadDim
          var delta = 0.0
          for d in 0..<valueHeadDim { delta += outputGradient[output + d] * o[output + d] }
          for j in 0..<keyTokens {
            let added = bias(b, i, j, h)
            if added == -.infinity { continue }
            let key = ((b * keyTokens + j) * kvHeads + kvHead) * headDim
            let value = ((b * keyTokens + j) * kvHeads + kvHead) * valueHeadDim
            var dot = 0.0
            for d in 0..<headDim { dot += q[query + d] * k[key + d] }
            let (score, slope) = changed(scale * dot, b, i, j, h)
            let weight = exp(score + added - lse[(b * queryHeads + h) * tokens + i])
            var weightGradient = 0.0
            for d in 0..<valueHeadDim {
              weightGradient += outputGradient[output + d] * v[value + d]
              dv[value + d] += weight * outputGradient[output + d]
            }
            let scoreGradient = weight * (weightGradient - delta) * slope * scale
            for d in 0..<headDim {
              dq[query + d] += scoreGradient * k[key + d]
              dk[key + d] += scoreGradient * q[query + d]
            }
          }
        }
      }
    }
    return (dq, dk, dv)
  }

  /// The gradients of the sinks, a sink being one more key: its value is 0, and so with z the sinks
  /// `dz_h = Σ_i exp(z_h − lse_i) (do_i · 0 − Δ_i)`.
  ///
  /// - Returns: `[queryHeads]`; nothing if there are no sinks.
  public func sinkGradients(
    q: [Double], k: [Double], v: [Double], outputGradient: [Double],
    bias: (_ b: Int, _ i: Int, _ j: Int, _ h: Int) -> Double
  ) -> [Double] {
    let (o, lse) = self(q: q, k: k, v: v, bias: bias)
    return (sinks ?? []).enumerated().map { h, sink in
      var sum = 0.0
      for b in 0..<batch {
        for i in 0..<tokens {
          let first = ((b * tokens + i) * queryHeads + h) * valueHeadDim
          let delta = (first..<first + valueHeadDim).reduce(0) { $0 + outputGradient[$1] * o[$1] }
          sum += exp(sink - lse[(b * queryHeads + h) * tokens + i]) * -delta
        }
      }
      return sum
    }
  }

  /// The same where sequences have the same added to their scores.
  public func sinkGradients(
    q: [Double], k: [Double], v: [Double], outputGradient: [Double],
    bias: (_ i: Int, _ j: Int, _ h: Int) -> Double
  ) -> [Double] {
    sinkGradients(
      q: q, k: k, v: v, outputGradient: outputGradient, bias: { _, i, j, h in bias(i, j, h) })
  }

  /// The same where sequences have the same added to their scores.
  public func gradients(
    q: [Double], k: [Double], v: [Double], outputGradient: [Double],
    bias: (_ i: Int, _ j: Int, _ h: Int) -> Double
  ) -> (dq: [Double], dk: [Double], dv: [Double]) {
    gradients(
      q: q, k: k, v: v, outputGradient: outputGradient, bias: { _, i, j, h in bias(i, j, h) })
  }

  /// A scaled score after the rule, and the derivative.
  private func changed(
    _ s: Double, _ b: Int, _ i: Int, _ j: Int, _ h: Int
  ) -> (score: Double, slope: Double) {
    guard let scoreRule else { return (s, 1) }
    return (
      scoreRule.score(s, batch: b, query: i, key: j, head: h),
      scoreRule.slope(s, batch: b, query: i, key: j, head: h)
    )
  }
}
