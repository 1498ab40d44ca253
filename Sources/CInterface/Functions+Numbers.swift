import CGyre
import MPI
import Reporting

extension Door {
  /// Adds up over all ranks, in place.
  @unsafe
  fileprivate func sum<Number: BitwiseCopyable>(
    _ numbers: UnsafeMutablePointer<Number>?, _ count: Int64,
    with sum: borrowing ReductionOperator<Number>
  ) throws {
    let world = joined.communicator.shared()
    let isThere = unsafe numbers != nil || count == 0
    try world.meet(
      for: "adds up \(count) numbers",
      complaint: isThere && count >= 0 ? nil : "there are no \(count) numbers to add up.")
    guard let numbers = unsafe numbers else { return }
    var span = unsafe MutableSpan(_unsafeStart: numbers, count: Int(count))
    try world.allReduce(&span, with: sum)
  }
}

/// Adds up.
@c @implementation
public func gyre_sum_f32(_ numbers: UnsafeMutablePointer<Float>?, _ count: Int64) -> Int32 {
  Library.callInJob { try unsafe $0.sum(numbers, count, with: .sum) }
}

/// Adds up.
@c @implementation
public func gyre_sum_f64(_ numbers: UnsafeMutablePointer<Double>?, _ count: Int64) -> Int32 {
  Library.callInJob { try unsafe $0.sum(numbers, count, with: .sum) }
}

/// Puts the bytes of all ranks one after the other.
@c @implementation
public func gyre_all_gather(
  _ part: UnsafeRawPointer?, _ whole: UnsafeMutableRawPointer?, _ counts: UnsafePointer<Int64>?
) -> Int32 {
  Library.callInJob { door in
    let world = door.joined.communicator.shared()
    let sizes = unsafe counts.map { counts in (0..<world.size).map { unsafe Int(counts[$0]) } }
    let isThere = unsafe part != nil && whole != nil && sizes != nil
    try world.meet(
      for: "gathers \(sizes ?? []) bytes", complaint: isThere ? nil : "there is nothing to gather.")
    guard let sizes, let part = unsafe part, let whole = unsafe whole else { return }
    let own = unsafe Span<UInt8>(
      _unsafeStart: part.assumingMemoryBound(to: UInt8.self), count: sizes[world.rank])
    var all = unsafe MutableSpan<UInt8>(
      _unsafeStart: whole.assumingMemoryBound(to: UInt8.self), count: sizes.reduce(0, +))
    try world.allGather(own, into: &all, counts: sizes)
  }
}
