import Attention
import SequenceParallel
import Tensors

/// Rows of keys or values: those of a window in memory, any others in their source.
struct WindowRows: ~Copyable {
  private let positions: PositionRange
  private let source: any TokenRows
  private let tensor: Tensor<Float>
  private let team: ThreadTeam

  /// Reads the rows of the window.
  init(_ positions: PositionRange, of source: any TokenRows, team: ThreadTeam) throws {
    self.positions = positions
    self.source = source
    self.team = team
    tensor = try source.read(shard: [positions], team: team)
  }

  /// Numbers of a row of one head.
  var width: Int { tensor.shape[3] }

  /// Copies rows out of the window or else out of the source.
  ///
  /// - Parameters:
  ///   - wanted: in ascending order.
  ///   - memory: is moved past what is written.
  @unsafe
  func read(
    batch: Int, positions wanted: PositionRange, heads: [Int],
    to memory: inout UnsafeMutablePointer<Float>
  ) throws {
    let first = Self.count(of: wanted, below: positions.start)
    let last = Self.count(of: wanted, below: positions.start + positions.count)
    unsafe try readSource(batch: batch, wanted.slice(0..<first), heads: heads, to: &memory)
    if first < last {
      let inside = wanted.slice(first..<last)
      let tokens = PositionRange(
        start: inside.start - positions.start, stride: inside.stride, count: inside.count)
      unsafe RowGrid(tokensFirst: tensor).read(
        batch: batch, tokens: tokens, heads: heads, to: &memory, team: team)
    }
    unsafe try readSource(
      batch: batch, wanted.slice(last..<wanted.count), heads: heads, to: &memory)
  }

  @unsafe
  private func readSource(
    batch: Int, _ wanted: PositionRange, heads: [Int],
    to memory: inout UnsafeMutablePointer<Float>
  ) throws {
    if wanted.isEmpty { return }
    var rows = Tensor<Float>(zeros: [1, wanted.count, tensor.shape[2], width])
    var numbers = rows.mutableSpan
    try source.read(batch: batch, tokens: wanted, into: &numbers, team: team)
    unsafe RowGrid(tokensFirst: rows).read(
      batch: 0, tokens: PositionRange(0..<wanted.count), heads: heads, to: &memory, team: team)
  }

  /// How many positions lie below a bound.
  private static func count(of run: PositionRange, below bound: Int) -> Int {
    guard bound > run.start else { return 0 }
    return min(run.count, (bound - run.start - 1) / run.stride + 1)
  }
}
