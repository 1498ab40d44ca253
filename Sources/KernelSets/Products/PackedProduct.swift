import AttentionTypes
public import Compute
import Tensors

extension PackedMatrix {
  /// Computes `C = A · B`, or `C += A · B`, with this matrix for B.
  ///
  /// A tile of rows of A is packed into scratch once for some panels of B; both of its parts that a
  /// panel meets lie in the second-level cache, the part of the panel in the first. Sums are in
  /// `Float`, in stretches of 256 terms that are added up one after the other: the same
  /// bits for any number of threads.
  ///
  /// - Parameters:
  ///   - a: `[rows, depth]`, row-major.
  ///   - rows: any number; fewer than a register tile has waste the rest of it.
  ///   - c: `[rows, columns]`, row-major.
  ///   - adding: whether what is in `c` is kept and added to.
  ///   - poll: as in ``ThreadTeam/run(_:poll:)``, with multiply–adds.
  /// - Complexity: `2 · rows · depth · columns` floating-point operations, shared among the
  ///   threads.
  public func multiply(
    _ a: borrowing Span<Float>, rows: Int, into c: inout MutableSpan<Float>, adding: Bool = false,
    team: ThreadTeam = ThreadTeam(threads: 1), poll: (_ work: Int) -> Void = { _ in }
  ) {
    precondition(a.count == rows * depth, "A has \(a.count) numbers, not \(rows) × \(depth)")
    precondition(c.count == rows * columns, "C has \(c.count) numbers, not \(rows) × \(columns)")
    if c.count == 0 { return }
    if depth == 0 {
      if !adding { c.update(repeating: 0) }
      return
    }
    unsafe a.withUnsafeBufferPointer { a in
      unsafe c.withUnsafeMutableBufferPointer { c in
        guard let a = a.baseAddress, let c = c.baseAddress else { return }
        let work = unsafe ProductWork(
          a: a, b: panels, c: c, rows: rows, depth: depth, columns: columns, adding: adding)
        kernels.multiply(work, team: team, poll: poll)
      }
    }
  }
}
