public import Compute
public import Tensors

/// The rows of a tensor by sequence, token and head, to move some of them into one piece of memory
/// and back.
///
/// It holds an address: whoever makes one keeps the tensor alive. Rows are moved in the order of
/// tokens, for each token in the order of heads.
@safe
public struct RowGrid {
  private let base: UnsafeMutablePointer<Float>
  private let batchStride: Int
  private let tokenStride: Int
  private let headStride: Int
  /// Elements of a row.
  public let width: Int

  /// The rows of `[batch, tokens, heads, width]`.
  @unsafe public init(tokensFirst tensor: borrowing Tensor<Float>) {
    precondition(tensor.shape.rank == 4, "[batch, tokens, heads, width]")
    unsafe self.init(
      tokensFirst: tensor.unsafeBaseAddress, tokens: tensor.shape[1], heads: tensor.shape[2],
      width: tensor.shape[3])
  }

  /// The single numbers of `[batch, heads, tokens]`.
  @unsafe public init(headsFirst tensor: borrowing Tensor<Float>) {
    precondition(tensor.shape.rank == 3, "[batch, heads, tokens]")
    unsafe self.init(
      headsFirst: tensor.unsafeBaseAddress, heads: tensor.shape[1], tokens: tensor.shape[2])
  }

  @unsafe init(
    tokensFirst base: UnsafeMutablePointer<Float>, tokens: Int, heads: Int, width: Int
  ) {
    unsafe self.base = base
    self.width = width
    headStride = width
    tokenStride = heads * width
    batchStride = tokens * tokenStride
  }

  @unsafe init(headsFirst base: UnsafeMutablePointer<Float>, heads: Int, tokens: Int) {
    unsafe self.base = base
    width = 1
    tokenStride = 1
    headStride = tokens
    batchStride = heads * tokens
  }

  /// Copies rows out.
  ///
  /// - Parameters:
  ///   - tokens: indices, not positions.
  ///   - memory: is moved past what is written.
  ///   - team: copies.
  @unsafe public func read(
    batch: Int, tokens: PositionRange, heads: [Int],
    to memory: inout UnsafeMutablePointer<Float>, team: ThreadTeam = ThreadTeam(threads: 1)
  ) {
    nonisolated(unsafe) let grid = self
    nonisolated(unsafe) let target = unsafe memory
    let numbers = heads.count * width
    unsafe memory += tokens.count * numbers
    team.forEachPart(of: tokens.count, cost: numbers) { part in
      var target = unsafe target + part.lowerBound * numbers
      let tokens = tokens.slice(part)
      if let all = unsafe grid.oneStretch(batch: batch, tokens: tokens, heads: heads) {
        return unsafe target.update(from: all, count: tokens.count * numbers)
      }
      unsafe grid.forEachRow(batch: batch, tokens: tokens, heads: heads) { row in
        unsafe target.update(from: row, count: grid.width)
        unsafe target += grid.width
      }
    }
  }

  /// Copies rows in.
  ///
  /// - Parameters:
  ///   - memory: is moved past what is read.
  ///   - team: copies.
  @unsafe public func write(
    batch: Int, tokens: PositionRange, heads: [Int], from memory: inout UnsafePointer<Float>,
    team: ThreadTeam = ThreadTeam(threads: 1)
  ) {
    nonisolated(unsafe) let grid = self
    nonisolated(unsafe) let source = unsafe memory
    let numbers = heads.count * width
    unsafe memory += tokens.count * numbers
    team.forEachPart(of: tokens.count, cost: numbers) { part in
      var source = unsafe source + part.lowerBound * numbers
      let tokens = tokens.slice(part)
      if let all = unsafe grid.oneStretch(batch: batch, tokens: tokens, heads: heads) {
        return unsafe all.update(from: source, count: tokens.count * numbers)
      }
      unsafe grid.forEachRow(batch: batch, tokens: tokens, heads: heads) { row in
        unsafe row.update(from: source, count: grid.width)
        unsafe source += grid.width
      }
    }
  }

  /// Adds rows to those that are there.
  ///
  /// - Parameters:
  ///   - memory: is moved past what is read.
  ///   - team: adds.
  @unsafe public func add(
    batch: Int, tokens: PositionRange, heads: [Int], from memory: inout UnsafePointer<Float>,
    team: ThreadTeam = ThreadTeam(threads: 1)
  ) {
    nonisolated(unsafe) let grid = self
    nonisolated(unsafe) let source = unsafe memory
    let (width, numbers) = (width, heads.count * width)
    unsafe memory += tokens.count * numbers
    team.forEachPart(of: tokens.count, cost: numbers) { part in
      var source = unsafe source + part.lowerBound * numbers
      unsafe grid.forEachRow(batch: batch, tokens: tokens.slice(part), heads: heads) { row in
        for column in 0..<width { unsafe row[column] += source[column] }
        unsafe source += width
      }
    }
  }

  /// The first of the rows if they are side by side in the order in which they are moved.
  @unsafe
  private func oneStretch(
    batch: Int, tokens: PositionRange, heads: [Int]
  ) -> UnsafeMutablePointer<Float>? {
    guard tokens.isContiguous, headStride == width || heads.count == 1,
      heads.count * width == tokenStride, heads.enumerated().allSatisfy({ $0 == $1 })
    else { return nil }
    return unsafe base + batch * batchStride + tokens.start * tokenStride
  }

  @inline(__always)
  private func forEachRow(
    batch: Int, tokens: PositionRange, heads: [Int],
    _ body: (UnsafeMutablePointer<Float>) -> Void
  ) {
    for token in tokens {
      let first = unsafe base + batch * batchStride + token * tokenStride
      for head in heads { unsafe body(first + head * headStride) }
    }
  }
}
