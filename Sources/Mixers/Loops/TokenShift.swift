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
  /// `[1, 1, columns]`: before this rank's first.
  private let halo: MixerTensor
  private var columns: Int { x.form.sizes[2] }

  /// Gets the row before this rank's first, called by all ranks together.
  ///
  /// - Parameters:
  ///   - x: `[1, tokens, columns]`.
  ///   - before: `[1, 1, columns]`, the row before the sequence; nil is zeros.
  package init(
    _ x: MixerTensor, before: MixerTensor?, on line: RankLine
  ) throws(MPIError) {
    self.x = x
    halo = try Halo(width: 1).rows(of: x, on: line)
    if let before, line.runs.first?.start ?? 0 == 0 {
      unsafe halo.base.update(from: before.base, count: before.count)
    }
  }

  /// Means of some tokens.
  ///
  /// - Parameters:
  ///   - weights: `[columns]`, m.
  ///   - target: `[tokens.count, columns]`.
  package func mix(
    _ tokens: Range<Int>, by weights: MixerTensor, into target: inout MutableSpan<Float>,
    team: ThreadTeam
  ) {
    let columns = columns
    precondition(target.count == tokens.count * columns, "rows of another width")
    unsafe target.withUnsafeMutableBufferPointer { target in
      guard let first = target.baseAddress else { return }
      nonisolated(unsafe) let base = unsafe first
      team.forEachPart(of: tokens.count, cost: columns) { part in
        for index in part {
          let token = tokens.lowerBound + index
          let now = unsafe x.base + token * columns
          let before = unsafe token > 0 ? now - columns : halo.base
          forEachVector(columns) { column in
            let (a, b) = unsafe (
              Vector(loading: now, at: column, of: columns),
              Vector(loading: before, at: column, of: columns)
            )
            let m = unsafe Vector(loading: weights.base, at: column, of: columns)
            unsafe b.addingProduct(m, a - b)
              .store(to: base + index * columns, at: column, of: columns)
          }
        }
      }
    }
  }

  /// The last row, on the rank that has it, as the one that a next sequence starts from.
  package func last(named name: String, on line: RankLine) -> MixerTensor {
    let row = MixerTensor(
      zeros: TensorForm(
        name: name, dimensions: ["batch", "before", "columns"], sizes: [1, 1, columns]), tokens: 0)
    let source = unsafe line.tokens > 0 ? x.base + (line.tokens - 1) * columns : halo.base
    unsafe row.base.update(from: source, count: columns)
    return row
  }
}

extension ThreadTeam {
  /// `max(0, x)²` of numbers, in place.
  package func squarePositives(_ numbers: inout MutableSpan<Float>) {
    unsafe numbers.withUnsafeMutableBufferPointer { numbers in
      guard let first = numbers.baseAddress else { return }
      nonisolated(unsafe) let base = unsafe first
      let count = numbers.count
      forEachPart(of: (count + 7) / 8, cost: 8) { part in
        for index in part {
          let x = unsafe Vector.zero.larger(Vector(loading: base, at: 8 * index, of: count))
          unsafe (x * x).store(to: base, at: 8 * index, of: count)
        }
      }
    }
  }

  /// Adds `σ(gates) ∘ numbers`.
  package func addGated(
    _ numbers: borrowing Span<Float>, by gates: borrowing Span<Float>,
    to target: inout MutableSpan<Float>
  ) {
    let count = target.count
    precondition(numbers.count == count && gates.count == count, "as many numbers")
    unsafe target.withUnsafeMutableBufferPointer { target in
      unsafe numbers.withUnsafeBufferPointer { numbers in
        unsafe gates.withUnsafeBufferPointer { gates in
          guard let to = target.baseAddress, let from = numbers.baseAddress,
            let by = gates.baseAddress
          else { return }
          nonisolated(unsafe) let (sums, values, weights) = unsafe (to, from, by)
          forEachPart(of: (count + 7) / 8, cost: 16) { part in
            for index in part {
              let gate = unsafe sigmoid(Vector(loading: weights, at: 8 * index, of: count))
              let old = unsafe Vector(loading: sums, at: 8 * index, of: count)
              unsafe old.addingProduct(gate, Vector(loading: values, at: 8 * index, of: count))
                .store(to: sums, at: 8 * index, of: count)
            }
          }
        }
      }
    }
  }
}
