public import Compute
import Glibc
import Tensors

extension AttentionOutput {
  /// Attention of the same queries over these keys and others.
  ///
  /// `lse = ln(exp lse₁ + exp lse₂)`, `o = exp(lse₁ − lse) o₁ + exp(lse₂ − lse) o₂`. A row that has
  /// seen nothing is the identity. A key that is in both counts twice.
  ///
  /// - Complexity: O(outputs), shared among the threads.
  public consuming func merged(
    with other: borrowing AttentionOutput, team: ThreadTeam = ThreadTeam(threads: 1)
  ) -> AttentionOutput {
    precondition(
      o.shape == other.o.shape && lse.shape == other.lse.shape, "outputs of other queries")
    let (tokens, heads, width) = (o.shape[1], o.shape[2], o.shape[3])
    nonisolated(unsafe) let own = unsafe (
      o: o.unsafeBaseAddress, lse: lse.unsafeBaseAddress, rest: lseRemainder.unsafeBaseAddress
    )
    nonisolated(unsafe) let others = unsafe (
      o: other.o.unsafeBaseAddress, lse: other.lse.unsafeBaseAddress,
      rest: other.lseRemainder.unsafeBaseAddress
    )
    team.forEachPart(of: o.shape[0] * tokens, cost: heads * (2 * width + 16)) { part in
      for index in part {
        let (sequence, token) = index.quotientAndRemainder(dividingBy: tokens)
        for head in 0..<heads {
          let row = (sequence * heads + head) * tokens + token
          let a = unsafe Double(own.lse[row]) + Double(own.rest[row])
          let b = unsafe Double(others.lse[row]) + Double(others.rest[row])
          let all = logSumExp(a, b)
          if all == -.infinity { continue }
          unsafe (own.lse[row], own.rest[row]) = split(all)
          let (mine, theirs) = (Float(exp(a - all)), Float(exp(b - all)))
          let first = (index * heads + head) * width
          for column in first..<first + width {
            unsafe own.o[column] = (own.o[column] * mine).addingProduct(others.o[column], theirs)
          }
        }
      }
    }
    return self
  }
}

/// `ln(exp a + exp b)`; −∞ if both are.
func logSumExp(_ a: Double, _ b: Double) -> Double {
  let (larger, smaller) = (max(a, b), min(a, b))
  return larger == -.infinity ? larger : larger + log1p(exp(smaller - larger))
}
