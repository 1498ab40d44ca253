extension ThreadTeam {
  /// Numbers that one thread goes through about as fast as others can be woken up: 64 KiB of
  /// `Float`.
  public static var smallestPart: Int { 1 << 14 }

  /// Calls `body` with ranges that together are `0..<count`, on all threads.
  ///
  /// For passes over memory that does not fit caches: sums, copies, packing. Ranges do not depend
  /// on the number of threads, so results are the same bits for any, and what is too short to share
  /// is done by the caller without a word to the others.
  ///
  /// - Parameters:
  ///   - count: elements, which may be rows.
  ///   - cost: what one of them costs, in numbers that are read.
  ///   - poll: as in ``run(_:poll:)``, with the elements done.
  ///   - body: writes to places of its range only.
  public func forEachPart(
    of count: Int, cost: Int = 1, poll: (_ work: Int) -> Void = { _ in },
    _ body: @Sendable (Range<Int>) -> Void
  ) {
    forEachPart(of: count, length: max(1, Self.smallestPart / max(1, cost)), poll: poll, body)
  }

  /// The same with the elements of a range given, except for the last.
  func forEachPart(
    of count: Int, length: Int, poll: (_ work: Int) -> Void = { _ in },
    _ body: @Sendable (Range<Int>) -> Void
  ) {
    withoutActuallyEscaping(body) { body in
      run(PartsPass(count: count, length: length, body: body), poll: poll)
    }
  }
}

/// Stretches of `length` elements, the last as long as what is left.
private struct PartsPass: ThreadedPass {
  let count: Int
  let length: Int
  let body: @Sendable (Range<Int>) -> Void

  var unitCount: Int { (count + length - 1) / length }

  func run(_ units: ThreadTeam.Units, poll: (_ work: Int) -> Void) {
    while let unit = units.next() {
      let part = unit * length..<min((unit + 1) * length, count)
      body(part)
      poll(part.count)
    }
  }
}
