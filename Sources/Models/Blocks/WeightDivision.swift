import Compute
import KernelSets
import MPI
import Sharding
import Tensors

/// Ranks that share the weights' work on few tokens: each computes a stretch of the columns of
/// every product, and all get all of them.
///
/// Each column is a sum of its own, so that the result is to the last bit that of a rank alone. It
/// pays where ranks stand close together: a layer costs four exchanges, of at most
/// `2 · hidden · 4` bytes a token.
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

  /// The most tokens: of more, what is exchanged and kept meanwhile is no longer small.
  static var mostRows: Int { 64 }

  /// Multiplies rows, called by all ranks together with the same rows.
  ///
  /// - Parameters:
  ///   - a: `[rows, inputs]`.
  ///   - c: `[rows, outputs of all matrices]`.
  ///   - adding: whether what is in `c` is kept and added to.
  func multiply(
    _ a: borrowing Span<Float>, rows: Int, by matrices: [StoredMatrix],
    with products: LinearProducts, of arithmetic: ProductArithmetic?,
    into c: inout MutableSpan<Float>, adding: Bool
  ) {
    share(rows: rows, into: &c, adding: adding) { mine, target in
      var (first, stretches): (Int, [StoredMatrix]) = (0, [])
      for matrix in matrices {
        let range = mine.clamped(to: first..<first + matrix.outputs)
        if !range.isEmpty {
          stretches.append(matrix.rows(range.lowerBound - first..<range.upperBound - first))
        }
        first += matrix.outputs
      }
      products.multiply(a, rows: rows, by: stretches, into: &target, of: arithmetic)
    }
  }

  /// Computes rows of which each rank has a stretch of the columns, called by all ranks together.
  ///
  /// - Parameters:
  ///   - c: all of them, `[rows, columns]`.
  ///   - adding: whether what is in `c` is kept and added to.
  ///   - body: is given a stretch, which is not empty, and as many zeros to be written,
  ///     `[rows, mine.count]`.
  func share(
    rows: Int, into c: inout MutableSpan<Float>, adding: Bool,
    _ body: (_ mine: Range<Int>, _ target: inout MutableSpan<Float>) -> Void
  ) {
    if failure != nil { return }
    let width = c.count / rows
    let parts = Sharding(.contiguous, tokens: width, ranks: world.size)
    let columns = parts.shards.map { $0.first.map { $0.start..<$0.start + $0.count } ?? 0..<0 }
    let counts = columns.map { rows * $0.count }
    let mine = columns[world.rank]
    own = [Float](repeating: 0, count: rows * mine.count)
    all = [Float](repeating: 0, count: c.count)
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
    // Each rank's rows come one after the other.
    for part in columns {
      for row in 0..<rows {
        let source = rows * part.lowerBound + row * part.count
        for (index, column) in part.enumerated() {
          let place = row * width + column
          c[place] = adding ? c[place] + all[source + index] : all[source + index]
        }
      }
    }
  }
}
