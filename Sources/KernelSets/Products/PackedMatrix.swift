import AttentionTypes
public import Compute
import Tensors

/// A matrix `[depth, columns]` in the form in which products read it, packed once for any number of
/// them: the weights of a linear layer, say.
///
/// Its columns lie in panels, `[⌈columns / W⌉][depth][W]`, the last filled up with zeros, so that
/// every step of a product loads one row of a panel; W is what the kernels in use want.
public struct PackedMatrix: ~Copyable, Sendable {
  /// Rows, which a product sums over.
  public let depth: Int
  /// Columns, those of a product.
  public let columns: Int
  /// What multiplies by it.
  let kernels: any KernelSet.Type
  private let storage: AlignedBuffer<Float>

  /// Packs a row-major matrix `[depth, columns]`.
  ///
  /// - Complexity: O(depth · columns) moves, shared among the threads.
  public init(
    _ matrix: borrowing Span<Float>, depth: Int, columns: Int,
    instructions: InstructionSet = .inUse, team: ThreadTeam = ThreadTeam(threads: 1)
  ) {
    self.init(
      matrix, depth: depth, columns: columns, rowStride: columns, columnStride: 1,
      instructions: instructions, team: team)
  }

  /// Packs the transpose of a row-major matrix `[columns, depth]`: weights as layers store them,
  /// `[outputs, inputs]`.
  ///
  /// - Complexity: O(depth · columns) moves, shared among the threads.
  public init(
    transposing matrix: borrowing Span<Float>, depth: Int, columns: Int,
    instructions: InstructionSet = .inUse, team: ThreadTeam = ThreadTeam(threads: 1)
  ) {
    self.init(
      matrix, depth: depth, columns: columns, rowStride: 1, columnStride: depth,
      instructions: instructions, team: team)
  }

  private init(
    _ matrix: borrowing Span<Float>, depth: Int, columns: Int, rowStride: Int,
    columnStride: Int, instructions: InstructionSet, team: ThreadTeam
  ) {
    precondition(depth >= 0 && columns >= 0, "a matrix of \(depth) × \(columns)")
    precondition(matrix.count == depth * columns, "not \(depth) × \(columns) numbers")
    self.depth = depth
    self.columns = columns
    kernels = instructions.kernels
    let width = kernels.productPanelWidth
    let count = (columns + width - 1) / width
    storage = AlignedBuffer(zeros: count * depth * width)
    nonisolated(unsafe) let target = unsafe storage.unsafeBaseAddress
    unsafe matrix.withUnsafeBufferPointer { matrix in
      guard let base = matrix.baseAddress else { return }
      nonisolated(unsafe) let source = unsafe base
      team.forEachPart(of: count, cost: depth * width) { part in
        for panel in part {
          let first = panel * width
          for row in 0..<depth {
            let to = unsafe target + (panel * depth + row) * width
            let from = unsafe source + row * rowStride + first * columnStride
            for column in 0..<min(width, columns - first) {
              unsafe to[column] = from[column * columnStride]
            }
          }
        }
      }
    }
  }

  /// The first row of the first panel, for as long as the matrix lives.
  @unsafe var panels: UnsafePointer<Float> { unsafe UnsafePointer(storage.unsafeBaseAddress) }
}
