import Attention
import MPI

/// A stream of blocks past the ranks that have work to do on them.
///
/// What a *block* is depends on what travels: packed keys and values, past queries that stay; or
/// queries, past keys and values that stay. Its *result* is what the ranks find out about it
/// together and send to its owner: gradients, or outputs.
protocol BlockStream: AnyObject {
  /// Where this rank's own block is to be put before a run.
  var ownBlock: UnsafeMutableRawBufferPointer { get }

  /// What this rank and all others have found out about its own block, after a run with results.
  var ownResult: UnsafeMutableRawBufferPointer { get }

  /// The point-to-point messages of this rank so far.
  var traffic: Traffic { get }

  /// Makes room for results, called by all ranks together.
  ///
  /// - Parameter sizes: for each owner, the bytes of its result.
  func reserveResults(_ sizes: [Int]) throws(MPIError)

  /// Meets every block that this rank has work to do on, once; called by all ranks together.
  ///
  /// - Parameters:
  ///   - results: how results are added up; nil if there are none.
  ///   - visit: computes on a block, calling its second argument between tiles.
  /// - Returns: where the time went.
  func run(
    results: ResultOperations?, visit: (Visit, _ poll: () -> Void) -> Void
  ) throws(MPIError) -> Timing

  /// Gives back what is shared, called by all ranks together.
  func close() throws(MPIError)
}

/// One meeting of this rank with a block.
@safe
struct Visit {
  /// The rank that owns the block.
  let owner: Int
  /// How much of the block is to be computed now.
  let part: BlockPart
  /// The block.
  let block: UnsafeMutableRawBufferPointer
  /// What is known about the block, to be added to; empty in a run without results.
  let result: UnsafeMutableRawBufferPointer
}

/// What is done with results, given as bytes.
@safe
struct ResultOperations {
  /// Writes the result of nothing.
  let clear: (_ owner: Int, _ result: UnsafeMutableRawBufferPointer) -> Void
  /// Adds another part of the same result.
  let add:
    (
      _ owner: Int, _ result: UnsafeMutableRawBufferPointer,
      _ other: UnsafeMutableRawBufferPointer
    ) -> Void
}

/// Where the time of one rank went.
public struct Timing: Hashable, Sendable {
  /// Time in the kernels, with the polling between tiles.
  public var computing: Duration = .zero
  /// Time in which the rank had nothing to compute because a transfer had not ended.
  public var waiting: Duration = .zero

  /// No time.
  public init() {}

  /// Both times together.
  public static func + (left: Timing, right: Timing) -> Timing {
    var sum = left
    sum.computing += right.computing
    sum.waiting += right.waiting
    return sum
  }
}
