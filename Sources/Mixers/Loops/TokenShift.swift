package import Compute
package import MPI
import Tensors

/// Rows next to those of the tokens before them, of which a mean with a weight for each column is
/// taken: `m ∘ x_t + (1 − m) ∘ x_{t−1}`.
///
/// The row before a rank's first is a halo.
///
/// Source: Peng et al. 2023, RWKV, section 3.1.1.
package struct TokenShift {
  private let x: MixerTensor
  /// `[batch, 1, columns]`: before this rank's first tokens.
  private let halo: MixerTensor
  /// Tokens of each sequence on this rank.
  private let tokens: Int
  private var columns: Int { x.form.sizes[2] }

  /// Gets the row before this rank's first, called by all ranks together.
  ///
  /// - Parameters:
  ///   - x: `[batch, tokens, columns]`.
  ///   - before: `[batch, 1, columns]`, the rows before the sequences; nil is zeros.
  package init(
    _ x: MixerTensor, before: MixerTensor?, on line: RankLine
  ) throws(MPIError) {
    (self.x, tokens) = (x, line.tokens)
    halo = try Halo(width: 1).rows(of: x, on: line)
    if let before, line.runs.first?.start ?? 0 == 0 {
      unsafe halo.base.update(from: before.base, count: before.count)
    }
  }

  /// Means of some tokens, of all sequences one after the other.
  ///
  /// - Parameters:
  ///   - weights: `[columns]`, m.
  ///   - less: what a token takes from m, `[tokens.count, columns]`; or empty.
  ///   - target: `[tokens.count, columns]`.
  package func mix(
    _ tokens: Range<Int>, by weights: MixerTensor, less: borrowing Span<Float>,
    into target: inout MutableSpan<Float>, team: ThreadTeam
  ) {
    precondition(target.count == tokens.count * columns, "rows of another width")
    precondition(less.isEmpty || less.count == target.count, "weights of other tokens")
    unsafe target.withUnsafeMutableBufferPointer { target in
      unsafe less.withUnsafeBufferPointer { less in
        guard let first = target.baseAddress else { return }
        unsafe mix(
          tokens, by: weights, less: less.isEmpty ? nil : less.baseAddress, into: first,
          team: team)
      }
    }
  }

  @unsafe
  private func mix(
    _ tokens: Range<Int>, by weights: MixerTensor, less: UnsafePointer<Float>?,
    into target: UnsafeMutablePointer<Float>, team: ThreadTeam
  ) {
    let (columns, count) = (columns, self.tokens)
    nonisolated(unsafe) let (base, shares) = unsafe (target, less)
    team.forEachPart(of: tokens.count, cost: columns) { part in
      for index in part {
        let token = tokens.lowerBound + index
        let now = unsafe x.base + token * columns
        let (sequence, place) = token.quotientAndRemainder(dividingBy: count)
        let before = unsafe place > 0 ? now - columns : halo.base + sequence * columns
        forEachVector(columns) { column in
          let (a, b) = unsafe (
            Vector(loading: now, at: column, of: columns),
            Vector(loading: before, at: column, of: columns)
          )
          var m = unsafe Vector(loading: weights.base, at: column, of: columns)
          if let shares = unsafe shares {
            unsafe m -= Vector(loading: shares + index * columns, at: column, of: columns)
          }
          unsafe b.addingProduct(m, a - b)
            .store(to: base + index * columns, at: column, of: columns)
        }
      }
    }
  }

  /// The last rows, on the rank that has them, as those that next sequences start from.
  package func last(named name: String) -> MixerTensor {
    let batch = x.form.sizes[0]
    let rows = MixerTensor(
      zeros: TensorForm(
        name: name, dimensions: ["batch", "before", "columns"], sizes: [batch, 1, columns]),
      tokens: 0)
    for sequence in 0..<batch {
      let source =
        unsafe tokens > 0
        ? x.base + ((sequence + 1) * tokens - 1) * columns : halo.base + sequence * columns
      unsafe (rows.base + sequence * columns).update(from: source, count: columns)
    }
    return rows
  }
}
