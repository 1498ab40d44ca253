package import Attention
package import MPI

/// A stream of blocks past the ranks that have work to do on them.
///
/// What a *block* is depends on what travels: packed keys and values, past queries that stay; or
/// queries, past keys and values that stay. Its *result* is what the ranks find out about it
/// together and send to its owner: gradients, or outputs. Both consist of the *parcels* of the
/// block, one after the other: neighbouring runs that go the same way. What nobody else sees of a
/// block stays.
///
/// ``PlainRing`` is the simplest one, and the one to read first.
package protocol BlockStream: AnyObject {
  /// Where this rank's own block is to be put before a run.
  var ownBlock: Piece { get }

  /// What this rank and all others have found out about its own block, after a run with results.
  var ownResult: Piece { get }

  /// The runs of each parcel of this rank's own block.
  var ownParcels: [Range<Int>] { get }

  /// The point-to-point messages of this rank so far.
  var traffic: Traffic { get }

  /// Makes room for results, called by all ranks together.
  ///
  /// - Parameter sizes: for each owner, for each run of its block, the bytes of its result.
  func reserveResults(_ sizes: [[Int]]) throws(MPIError)

  /// Meets every parcel that this rank has work to do on, once, or in two parts; called by all
  /// ranks together.
  ///
  /// - Parameters:
  ///   - results: how results are added up; nil if there are none.
  ///   - visit: computes on a parcel, calling its second argument between tiles.
  /// - Returns: where the time went.
  func run(
    results: ResultOperations?, visit: (Visit, _ poll: () -> Void) -> Void
  ) throws(MPIError) -> Timing

  /// Gives back what is shared, called by all ranks together.
  func close() throws(MPIError)
}

/// One meeting of this rank with a parcel of a block.
package struct Visit {
  /// The rank that owns the block.
  package let owner: Int
  /// Which of the owner's runs the parcel is.
  package let runs: Range<Int>
  /// How much of the parcel is to be computed now.
  package let part: BlockPart
  /// The parcel.
  package let block: Piece
  /// What is known about the parcel, to be added to; nothing in a run without results.
  package let result: Piece

  package init(owner: Int, runs: Range<Int>, part: BlockPart, block: Piece, result: Piece) {
    self.owner = owner
    self.runs = runs
    self.part = part
    self.block = block
    self.result = result
  }
}

/// What is done with the results of parcels, given as memory.
package struct ResultOperations {
  /// Writes the result of nothing.
  package let clear: (_ owner: Int, _ runs: Range<Int>, _ result: Piece) -> Void
  /// Adds another part of the same result.
  package let add: (_ owner: Int, _ runs: Range<Int>, _ result: Piece, _ other: Piece) -> Void

  package init(
    clear: @escaping (_ owner: Int, _ runs: Range<Int>, _ result: Piece) -> Void,
    add: @escaping (_ owner: Int, _ runs: Range<Int>, _ result: Piece, _ other: Piece) -> Void
  ) {
    self.clear = clear
    self.add = add
  }
}

/// Where the time of one rank went.
public struct Timing: Hashable, Sendable {
  /// Time in the kernels, with the looks after transfers in between.
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
