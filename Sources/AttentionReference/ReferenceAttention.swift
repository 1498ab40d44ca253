/// Attention as it is defined, in `Double`: every score of a row at once, no tiles, no threads.
///
/// This is the oracle. It shares no code with the kernels, and is as short as it can be so that it
/// can be checked by eye against `o_i = Σ_j softmax_j(f(scale · q_i·k_j) + bias_ij) v_j`,
/// `lse_i = ln Σ_j exp(f(scale · q_i·k_j) + bias_ij)`, with `f(s) = s` unless there is a score
/// rule.
public struct ReferenceAttention: Sendable {
  /// Independent sequences.
  public var batch = 1
  /// Queries of a sequence.
  public var tokens: Int
  /// Keys of a sequence.
  public var keyTokens: Int
  /// Heads of `q`.
  public var queryHeads = 1
  /// Heads of `k` and `v`.
  public var kvHeads = 1
  /// Columns of `q` and `k`.
  public var headDim: Int
  /// Columns of `v`.
  public var valueHeadDim: Int
  /// Multiplies `q·k`.
  public var scale: Double
  /// f; nil if scores stay as they are.
  public var scoreRule: (any ReferenceScoreRule)?
  /// One more score in each row of a head, of a key whose value is 0; nil if there is none.
  public var sinks: [Double]?

  /// Creates a problem with one sequence and one head, which the properties can widen.
  public init(tokens: Int, keyTokens: Int, headDim: Int, valueHeadDim: Int, scale: Double) {
    self.tokens = tokens
    self.keyTokens = keyTokens
    self.headDim = headDim
    self.valueHeadDim = valueHeadDim
    self.scale = scale
  }

  /// Computes outputs and log-sum-exps.
  ///
  /// - Parameters:
  ///   - q: `[batch, tokens, queryHeads, headDim]`.
  ///   - k: `[batch, keyTokens, kvHeads, headDim]`.
  ///   - v: `[batch, keyTokens, kvHeads, valueHeadDim]`.
  ///   - bias: added to the score of query `i` and key `j` of sequence `b` in query head `h`; −∞
  ///     hides the key.
  /// - Returns: `o` `[batch, tokens, queryHeads, valueHeadDim]` and `lse`
  ///   `[batch, queryHeads, tokens]`; 0 and −∞ for a row that sees no key.
  /// - Complexity: O(tokens · keyTokens).
  public func callAsFunction(
    q: [Double], k: [Double], v: [Double],
    bias: (_ b: Int, _ i: Int, _ j: Int, _ h: Int) -> Double
  ) -> (o: [Double], lse: [Double]) {
    precondition(q.count == batch * tokens * queryHeads * headDim)
    precondition(k.count == batch * keyTokens * kvHeads * headDim)
    precondition(v.count == batch * keyTokens * kvHeads * valueHeadDim)
    var o = [Double](repeating: 0, count: batch * tokens * queryHeads * valueHeadDim)
    var lse = [Double](repeating: -.infinity, count: batch * queryHeads * tokens)
    for b in 0..<batch {
      for h in 0..<queryHeads {
        let kvHead = h * kvHeads / queryHeads
        for i in 0..<tokens {
          let query = ((b * tokens + i) * queryHeads + h) * headDim
          var row = ReferenceRow(valueHeadDim: valueHeadDim)
          for j in 0..<keyTokens {
            let added = bias(b, i, j, h)
            if added == -.infinity { continue }
            let key = ((b * keyTokens + j) * kvHeads + kvHead) * headDim
            var dot = 0.0
            for d in 0..<headDim { dot += q[query + d] * k[key + d] }
            let value = ((b * keyTokens + j) * kvHeads + kvHead) * valueHeadDim
            let score =
              scoreRule?.score(scale * dot, batch: b, query: i, key: j, head: h) ?? scale * dot
            row.add(score: score + added, value: v[value..<value + valueHeadDim])
          }
          if let sinks {
            row.add(score: sinks[h], value: [Double](repeating: 0, count: valueHeadDim)[...])
          }
          let result = row.result
          let first = ((b * tokens + i) * queryHeads + h) * valueHeadDim
          o.replaceSubrange(first..<first + valueHeadDim, with: result.output)
          lse[(b * queryHeads + h) * tokens + i] = result.logSumExp
        }
      }
    }
    return (o, lse)
  }

  /// The same where sequences have the same added to their scores.
  public func callAsFunction(
    q: [Double], k: [Double], v: [Double], bias: (_ i: Int, _ j: Int, _ h: Int) -> Double
  ) -> (o: [Double], lse: [Double]) {
    self(q: q, k: k, v: v, bias: { _, i, j, h in bias(i, j, h) })
  }
}
