import AttentionTypes
public import Compute
import Glibc
public import Tensors

/// Learned sinks: one more logit in the softmax of each row, which is the same for all rows of a
/// head and has no value.
///
/// `lse′_i = ln(exp lse_i + exp z_h)`, `o′_i = exp(lse_i − lse′_i) o_i`: weight that no key has
/// earned goes to the sink. It is done once a row, when all blocks have been merged; nothing about
/// it travels. A row that sees no key has `o′ = 0` and `lse′ = z_h`. Gradients of queries, keys and
/// values follow from `o′` and `lse′` by the rules for `o` and `lse`, since the sink is a key whose
/// value is 0 and which nobody moves; with `Δ_i = do_i·o′_i` its own is
/// `dz_h = −Σ_i exp(z_h − lse′_i) Δ_i`.
///
/// Source: OpenAI 2025, gpt-oss-120b & gpt-oss-20b Model Card, section 2.
public struct LearnedSinks: Hashable, Sendable {
  /// z, in natural-log units, one for each query head.
  public let logits: [Float]

  /// Takes them.
  public init(_ logits: [Float]) { self.logits = logits }

  /// Counts the sinks in.
  ///
  /// - Parameter output: of these heads, over all keys, before any sink.
  public func applied(
    to output: consuming AttentionOutput, team: ThreadTeam = ThreadTeam(threads: 1)
  ) -> AttentionOutput {
    let (batch, tokens, heads) = (output.o.shape[0], output.o.shape[1], output.o.shape[2])
    let width = output.o.shape[3]
    precondition(heads == logits.count, "a sink for each query head")
    nonisolated(unsafe) let o = unsafe output.o.unsafeBaseAddress
    nonisolated(unsafe) let lse = unsafe output.lse.unsafeBaseAddress
    nonisolated(unsafe) let rest = unsafe output.lseRemainder.unsafeBaseAddress
    team.forEachPart(of: batch * tokens, cost: heads * (width + 16)) { part in
      for index in part {
        let (sequence, token) = index.quotientAndRemainder(dividingBy: tokens)
        for (head, logit) in logits.enumerated() {
          let row = (sequence * heads + head) * tokens + token
          let plain = unsafe Double(lse[row]) + Double(rest[row])
          let all = logSumExp(plain, Double(logit))
          unsafe (lse[row], rest[row]) = split(all)
          let factor = Float(exp(plain - all))
          let first = (index * heads + head) * width
          for column in first..<first + width { unsafe o[column] *= factor }
        }
      }
    }
    return output
  }

  /// What a rank's rows add to the gradients of the logits, to be given to ``gradient(merging:)``.
  ///
  /// Rows are summed up by leaves, and leaves as reproducible sums are: the bits do not depend on
  /// who has which, where shards consist of whole leaves.
  ///
  /// - Parameters:
  ///   - output: with sinks.
  ///   - outputGradient: `do`, of the shape of `o`.
  ///   - runs: the positions of the tokens.
  public func gradientSums(
    _ output: borrowing AttentionOutput, outputGradient: borrowing Tensor<Float>,
    runs: [PositionRange], team: ThreadTeam = ThreadTeam(threads: 1)
  ) -> [Int64] {
    let (batch, tokens, width) = (output.o.shape[0], output.o.shape[1], output.o.shape[3])
    precondition(output.o.shape[2] == logits.count, "a sink for each query head")
    var leaves: [(sequence: Int, tokens: Range<Int>)] = []
    let length = Accumulation.reproducible.granularity
    for sequence in 0..<batch {
      var first = 0
      for run in runs {
        for start in stride(from: first, to: first + run.count, by: length) {
          leaves.append((sequence, start..<min(start + length, first + run.count)))
        }
        first += run.count
      }
    }
    nonisolated(unsafe) let o = unsafe output.o.unsafeBaseAddress
    nonisolated(unsafe) let gradient = unsafe outputGradient.unsafeBaseAddress
    nonisolated(unsafe) let lse = unsafe output.lse.unsafeBaseAddress
    nonisolated(unsafe) let rest = unsafe output.lseRemainder.unsafeBaseAddress
    let heads = logits.count
    let terms = AlignedBuffer<Float>(zeros: leaves.count * heads)
    nonisolated(unsafe) let places = unsafe terms.unsafeBaseAddress
    team.forEachPart(of: leaves.count, cost: length * logits.count * width) { [leaves] part in
      for leaf in part {
        let (sequence, rows) = leaves[leaf]
        for (head, logit) in logits.enumerated() {
          var sum = 0.0
          for token in rows {
            let row = (sequence * logits.count + head) * tokens + token
            let first = ((sequence * tokens + token) * logits.count + head) * width
            var delta = 0.0
            for column in first..<first + width {
              unsafe delta += Double(o[column]) * Double(gradient[column])
            }
            unsafe sum -= exp(Double(logit) - (Double(lse[row]) + Double(rest[row]))) * delta
          }
          unsafe places[leaf * heads + head] = Float(sum)
        }
      }
    }
    let sums = VectorSums(count: heads)
    for leaf in leaves.indices {
      sums.add((0..<heads).map { terms.span[leaf * heads + $0] })
    }
    return sums.words
  }

  /// The gradients of the logits.
  ///
  /// - Parameter parts: what ``gradientSums(_:outputGradient:runs:team:)`` gave on each rank.
  public func gradient(merging parts: [[Int64]]) -> [Float] {
    let sums = VectorSums(count: logits.count)
    for part in parts { sums.add(VectorSums(count: logits.count, words: part)) }
    return sums.values
  }
}
