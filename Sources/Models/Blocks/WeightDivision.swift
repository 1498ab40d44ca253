import KernelSets
import MPI
import Sharding
import Tensors

/// Ranks that share the weights' work on a single token: each computes a stretch of the columns of
/// every product, and all get all of them.
///
/// Each column is a sum of its own, so that the result is to the last bit that of a rank alone. It
/// pays where ranks stand close together: a layer costs four exchanges, of at most
/// `2 · hidden · 4` bytes.
///
/// Source: Bhatia et al. 2025, Helix Parallelism, section 2: the ranks that divide the sequence in
/// attention divide columns elsewhere.
final class WeightDivision {
  private let world: Communicator
  private var own: [Float] = []
  private var all: [Float] = []
  /// What MPI has failed with; nothing is computed from then on.
  private(set) var failure: MPIError?

  /// Connects the ranks, called by all of them together.
  init(of world: borrowing Communicator) throws(MPIError) {
    self.world = try world.duplicate()
  }

  /// Multiplies one row, called by all ranks together with the same row.
  ///
  /// - Parameters:
  ///   - c: `[outputs of all matrices]`.
  ///   - adding: whether what is in `c` is kept and added to.
  func multiply(
    _ a: borrowing Span<Float>, by matrices: [StoredMatrix], with products: LinearProducts,
    into c: inout MutableSpan<Float>, adding: Bool
  ) {
    share(into: &c, adding: adding) { mine, target in
      var (first, stretches): (Int, [StoredMatrix]) = (0, [])
      for matrix in matrices {
        let range = mine.clamped(to: first..<first + matrix.outputs)
        if !range.isEmpty {
          stretches.append(matrix.rows(range.lowerBound - first..<range.upperBound - first))
        }
        first += matrix.outputs
      }
      products.multiply(a, rows: 1, by: stretches, into: &target)
    }
  }

  /// Computes numbers of which each rank has a stretch, called by all ranks together.
  ///
  /// - Parameters:
  ///   - c: all of them.
  ///   - adding: whether what is in `c` is kept and added to.
  ///   - body: is given a stretch, which is not empty, and as many zeros to be written.
  func share(
    into c: inout MutableSpan<Float>, adding: Bool,
    _ body: (_ mine: Range<Int>, _ target: inout MutableSpan<Float>) -> Void
  ) {
    if failure != nil { return }
    let parts = Sharding(.contiguous, tokens: c.count, ranks: world.size)
    let counts = (0..<world.size).map(parts.tokenCount)
    let mine = parts.shards[world.rank].first.map { $0.start..<$0.start + $0.count } ?? 0..<0
    own = [Float](repeating: 0, count: mine.count)
    all = [Float](repeating: 0, count: parts.tokens)
    if !mine.isEmpty {
      var span = own.mutableSpan
      body(mine, &span)
    }
    do throws(MPIError) {
      var span = all.mutableSpan
      try world.allGather(own.span, into: &span, counts: counts)
    } catch {
      failure = error
      return
    }
    for index in 0..<c.count { c[index] = adding ? c[index] + all[index] : all[index] }
  }
}
