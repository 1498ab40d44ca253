import Glibc

/// The contrastive loss of predictions of tokens some steps ahead.
///
/// - Parameters:
///   - z: `[sequences, tokens, dim]`.
///   - contexts: `[sequences, tokens, dim]`.
///   - w: `[steps, dim, dim]`, of which the first steps are asked for.
/// - Returns: `[steps]`; 0 where no token is so far ahead.
/// - Complexity: O(steps · sequences · tokens² · dim).
public func referenceInfoNCE(
  z: [Double], contexts: [Double], w: [Double], sequences: Int, dim: Int, steps: Int,
  temperature: Double
) -> [Double] {
  let tokens = z.count / (sequences * dim)
  return (0..<steps).map { step in
    var total = 0.0
    var count = 0
    for sequence in 0..<sequences {
      for token in 0..<max(0, tokens - step - 1) {
        let context = (sequence * tokens + token) * dim
        let prediction = (0..<dim).map { row in
          (0..<dim).reduce(0) { $0 + w[(step * dim + row) * dim + $1] * contexts[context + $1] }
        }
        let scores = (0..<tokens).map { other in
          prediction.indices.reduce(0) {
            $0 + z[(sequence * tokens + other) * dim + $1] * prediction[$1]
          } / temperature
        }
        let top = scores.max() ?? 0
        total += top + log(scores.reduce(0) { $0 + exp($1 - top) }) - scores[token + step + 1]
        count += 1
      }
    }
    return count == 0 ? 0 : total / Double(count)
  }
}
