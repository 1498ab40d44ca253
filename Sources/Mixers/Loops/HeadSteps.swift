package import Compute

/// What heads of Mamba's second version make of the numbers of a token: step sizes
/// `Δ = ln(1 + e^{x + bias})`, exponents `g = Δ a`, values `v = Δ u`, and of what the scan reads
/// outputs `(o + d u) ∘ silu(z)`.
///
/// Source: Dao and Gu 2024, Transformers are SSMs, section 7.
package struct HeadSteps: Sendable {
  /// `[heads]`.
  private let bias: MixerTensor
  private let rates: MixerTensor
  private let skips: MixerTensor
  /// What step sizes are kept within.
  private let limits: ClosedRange<Float>
  /// Columns of a head.
  private let columns: Int
  private var heads: Int { bias.count }

  /// - Parameters:
  ///   - bias: `[heads]`, added before step sizes are made.
  ///   - rates: `[heads]`, a, negative.
  ///   - skips: `[heads]`, d.
  package init(
    bias: MixerTensor, rates: MixerTensor, skips: MixerTensor, limits: ClosedRange<Float>,
    columns: Int
  ) {
    precondition(bias.count == rates.count && bias.count == skips.count, "as many heads")
    (self.bias, self.rates, self.skips) = (bias, rates, skips)
    (self.limits, self.columns) = (limits, columns)
  }

  /// Makes exponents, where step sizes are given, and values.
  ///
  /// - Parameters:
  ///   - steps: `[1, tokens, heads]`: x, and then g.
  ///   - u: `[1, tokens, at least heads · columns]`; what comes after those is not read.
  ///   - values: `[1, tokens, heads, columns]`.
  package func begin(
    _ steps: MixerTensor, of u: MixerTensor, into values: MixerTensor, team: ThreadTeam
  ) {
    let (heads, columns, width) = (heads, columns, u.form.sizes[2])
    let (low, high) = (Vector(repeating: limits.lowerBound), Vector(repeating: limits.upperBound))
    team.forEachPart(of: steps.count / heads, cost: 2 * heads * columns) { part in
      for token in part {
        let (source, target) = unsafe (
          u.base + token * width, values.base + token * heads * columns
        )
        forEachVector(heads) { first in
          let place = unsafe steps.base + token * heads
          var step = unsafe softplus(
            Vector(loading: place, at: first, of: heads)
              + Vector(loading: bias.base, at: first, of: heads))
          step = step.larger(low)
          step.replace(with: high, where: high .< step)
          unsafe (step * Vector(loading: rates.base, at: first, of: heads))
            .store(to: place, at: first, of: heads)
          for lane in 0..<min(8, heads - first) {
            let (factor, head) = (Vector(repeating: step[lane]), (first + lane) * columns)
            forEachVector(columns) { column in
              unsafe (factor * Vector(loading: source + head, at: column, of: columns))
                .store(to: target + head, at: column, of: columns)
            }
          }
        }
      }
    }
  }

  /// Makes outputs of what the scan has read, where it lies.
  ///
  /// - Parameters:
  ///   - o: `[1, tokens, heads, columns]`.
  ///   - u: as above.
  ///   - gates: `[1, tokens, heads · columns]`, z.
  package func end(_ o: MixerTensor, of u: MixerTensor, gates: MixerTensor, team: ThreadTeam) {
    let (heads, columns, width) = (heads, columns, u.form.sizes[2])
    let length = heads * columns
    team.forEachPart(of: o.count / length, cost: 4 * length) { part in
      for token in part {
        for head in 0..<heads {
          let first = head * columns
          let place = token * length + first
          let source = unsafe u.base + token * width + first
          let skip = unsafe Vector(repeating: skips.base[head])
          forEachVector(columns) { column in
            let z = unsafe Vector(loading: gates.base + place, at: column, of: columns)
            let sum = unsafe Vector(loading: o.base + place, at: column, of: columns)
              .addingProduct(skip, Vector(loading: source, at: column, of: columns))
            unsafe (sum * z * sigmoid(z)).store(to: o.base + place, at: column, of: columns)
          }
        }
      }
    }
  }
}
