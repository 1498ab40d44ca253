/// An arithmetic run of global token positions: `start`, `start + stride`, … (`count` of them).
///
/// It is the run a shard is made of and the slice a file is read by. Local index `i` of the run is
/// global position `start + i · stride`. A contiguous run has stride 1; a striped shard is one run
/// whose stride is the world size.
public struct PositionRange: Hashable, Sendable {
  /// The global position of local index 0; meaningful, though not held, when the run is empty.
  public let start: Int

  /// The distance between neighbouring positions, at least 1.
  public let stride: Int

  /// How many positions the run holds, possibly 0.
  public let count: Int

  /// Creates the run `start, start + stride, …` of `count` positions.
  ///
  /// - Precondition: `stride ≥ 1`, `count ≥ 0`, and `start + count · stride` is an `Int`.
  public init(start: Int, stride: Int = 1, count: Int) {
    precondition(stride >= 1, "A run of positions needs a stride of at least 1, not \(stride)")
    precondition(count >= 0, "A run of positions cannot hold \(count) positions")
    // By division: swiftc 6.3.1 -O deletes a precondition on the overflow flag of an unused
    // product.
    precondition(
      count <= (Int.max - Swift.max(start, 0)) / stride,
      "A run of \(count) positions with stride \(stride) from \(start) leaves the integers")
    self.start = start
    self.stride = stride
    self.count = count
  }

  /// Creates the contiguous run of `positions`.
  public init(_ positions: Range<Int>) {
    self.init(start: positions.lowerBound, count: positions.count)
  }

  /// Whether the run holds no position.
  @inlinable
  public var isEmpty: Bool { count == 0 }

  /// The lowest position, or nil if the run is empty.
  @inlinable
  public var first: Int? { isEmpty ? nil : start }

  /// The highest position, or nil if the run is empty.
  @inlinable
  public var last: Int? { isEmpty ? nil : start &+ (count &- 1) &* stride }

  /// Whether the positions are consecutive integers, which any run of fewer than two is.
  @inlinable
  public var isContiguous: Bool { stride == 1 || count <= 1 }

  /// Whether the run holds `position`, in constant time.
  @inlinable
  public func contains(_ position: Int) -> Bool {
    guard let last, position >= start, position <= last else { return false }
    return (position - start) % stride == 0
  }

  /// The positions at local indices `indices`, as a run with the same stride.
  ///
  /// - Precondition: `indices` lies within `0..<count`.
  @inlinable
  public func slice(_ indices: Range<Int>) -> PositionRange {
    precondition(
      indices.lowerBound >= 0 && indices.upperBound <= count,
      "Local indices \(indices) are outside of a run of \(count) positions")
    return PositionRange(
      start: start + indices.lowerBound * stride, stride: stride, count: indices.count)
  }

  /// The same positions as runs of every `step`-th, the first of which starts where this does.
  ///
  /// - Returns: as many runs as there are steps, or positions if they are fewer.
  /// - Precondition: `step ≥ 1`.
  public func strided(by step: Int) -> [PositionRange] {
    precondition(step >= 1, "A step of \(step) positions")
    return (0..<Swift.min(step, count)).map {
      PositionRange(
        start: start + $0 * stride, stride: stride * step, count: (count - $0 + step - 1) / step)
    }
  }

  /// The first `length` positions, or all of them if there are fewer.
  ///
  /// - Precondition: `length ≥ 0`.
  @inlinable
  public func prefix(_ length: Int) -> PositionRange {
    slice(0..<Swift.min(length, count))
  }
}

extension PositionRange: RandomAccessCollection {
  /// The first local index, always 0.
  @inlinable
  public var startIndex: Int { 0 }

  /// The local index after the last, which is `count`.
  @inlinable
  public var endIndex: Int { count }

  /// The global position at a local index.
  ///
  /// - Precondition: `index` lies within `0..<count`.
  @inlinable
  public subscript(index: Int) -> Int {
    precondition(index >= 0 && index < count, "Local index out of range")
    return start &+ index &* stride
  }
}

extension PositionRange: CustomStringConvertible {
  /// For example `8..<16`, or `3, 7, …, 31 (8 positions, stride 4)`.
  public var description: String {
    if isContiguous { return "\(start)..<\(start + count)" }
    if count == 2 { return "\(start), \(start + stride)" }
    let last = self[count - 1]
    return "\(start), \(start + stride), …, \(last) (\(count) positions, stride \(stride))"
  }
}

extension [PositionRange] {
  /// The global position at a local index of a shard whose rows are in the order of these runs.
  ///
  /// - Precondition: `index` lies within them.
  /// - Complexity: O(`count`).
  public func position(at index: Int) -> Int {
    var rest = index
    for run in self {
      if rest < run.count { return run[rest] }
      rest -= run.count
    }
    preconditionFailure("Local index out of range")
  }
}
