/// The position of each token of each sequence of a batch, which need not be its index: what rotary
/// positions turn by, and what ALiBi measures distances in.
///
/// Masks ask for indices always. Positions may repeat, leave gaps and start anew, as those of
/// packed documents do. A table takes 4 bytes a token, and every rank that needs one has all of it:
/// a hundredth or less of what a token's keys and values take.
@frozen
public struct TokenPositions: Hashable, Sendable {
  /// `[batch][tokens]`, from ``base`` on; empty where positions follow indices.
  @usableFromInline let table: [Int32]
  /// Tokens of a sequence of the table.
  @usableFromInline let tokens: Int
  /// Is added to what the table has, or to indices.
  @usableFromInline let base: Int
  /// No index leads past this position.
  @usableFromInline let last: Int

  /// Positions that follow indices: `min(index + offset, last)`.
  ///
  /// - Parameters:
  ///   - offset: `keyTokens − tokens` for the queries of a sequence with more keys.
  ///   - last: where they stay, once they have come there.
  public init(offset: Int = 0, last: Int = .max) {
    (table, tokens, base, self.last) = ([], 0, offset, last)
  }

  /// A position for each token.
  ///
  /// Nil if they are 2³¹ or more apart.
  ///
  /// - Parameters:
  ///   - positions: `[batch][tokens]`.
  ///   - batch: sequences.
  public init?(_ positions: [Int], batch: Int) {
    precondition(batch > 0 && positions.count % batch == 0, "as many tokens in each sequence")
    let (least, greatest) = (positions.min() ?? 0, positions.max() ?? 0)
    let (span, overflow) = greatest.subtractingReportingOverflow(least)
    guard !overflow, span <= Int32.max else { return nil }
    table = positions.map { Int32(truncatingIfNeeded: $0 &- least) }
    (tokens, base, last) = (positions.count / batch, least, .max)
  }

  /// Whether there is a table.
  @inlinable public var isTable: Bool { !table.isEmpty }

  /// From the first position to the last of a sequence of so many tokens, or of all sequences of a
  /// table.
  public func range(tokens: Int) -> Range<Int> {
    isTable ? base..<base + Int(table.max() ?? 0) + 1 : base..<base + tokens
  }

  /// What the table takes.
  public var byteCount: Int { table.count * MemoryLayout<Int32>.stride }

  /// The position of a token.
  ///
  /// - Parameters:
  ///   - batch: the sequence.
  ///   - token: its index.
  @inlinable @inline(__always)
  public subscript(batch: Int, token: Int) -> Int {
    isTable ? base + Int(table[batch * tokens + token]) : min(token + base, last)
  }
}
