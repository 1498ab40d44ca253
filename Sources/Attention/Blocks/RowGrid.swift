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
  @unsafe public func read(
    batch: Int, tokens: PositionRange, heads: [Int],
    to memory: inout UnsafeMutablePointer<Float>
  ) {
    if let all = unsafe oneStretch(batch: batch, tokens: tokens, heads: heads) {
      unsafe memory.update(from: all, count: tokens.count * tokenStride)
      unsafe memory += tokens.count * tokenStride
      return
    }
    unsafe forEachRow(batch: batch, tokens: tokens, heads: heads) { row in
      unsafe memory.update(from: row, count: width)
      unsafe memory += width
    }
  }

  /// Copies rows in.
  ///
  /// - Parameter memory: is moved past what is read.
  @unsafe public func write(
    batch: Int, tokens: PositionRange, heads: [Int], from memory: inout UnsafePointer<Float>
  ) {
    if let all = unsafe oneStretch(batch: batch, tokens: tokens, heads: heads) {
      unsafe all.update(from: memory, count: tokens.count * tokenStride)
      unsafe memory += tokens.count * tokenStride
      return
    }
    unsafe forEachRow(batch: batch, tokens: tokens, heads: heads) { row in
      unsafe row.update(from: memory, count: width)
      unsafe memory += width
    }
  }

  /// Adds rows to those that are there.
  ///
  /// - Parameter memory: is moved past what is read.
  @unsafe public func add(
    batch: Int, tokens: PositionRange, heads: [Int], from memory: inout UnsafePointer<Float>
  ) {
    unsafe forEachRow(batch: batch, tokens: tokens, heads: heads) { row in
      for column in 0..<width { unsafe row[column] += memory[column] }
      unsafe memory += width
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
