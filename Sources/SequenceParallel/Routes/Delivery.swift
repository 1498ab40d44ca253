package import MPI

/// How blocks get from group to group: a value for each way.
public struct Delivery: Hashable, Sendable {
  /// From each group to the next.
  public static let rotating = Delivery(RotatingDelivery())
  /// From each owner to all ranks that see the block, at once.
  public static let direct = Delivery(DirectDelivery())

  /// What does it, and knows what it costs.
  let kind: any BlockDelivery

  /// A way of its own.
  package init(_ kind: any BlockDelivery) { self.kind = kind }

  /// A word for it; no two have the same.
  public var name: String { kind.name }

  /// Whether both are the same way.
  public static func == (left: Delivery, right: Delivery) -> Bool { left.name == right.name }

  /// Hashes the name.
  public func hash(into hasher: inout Hasher) { hasher.combine(name) }
}

/// A way of delivering blocks: what it cannot serve, what it costs every rank, and the stream that
/// does it.
///
/// All that is to be known of a way is in the file of its type.
package protocol BlockDelivery: Sendable {
  /// A word for it; no two have the same.
  var name: String { get }

  /// Why it makes no sense between such groups and what to do, in a sentence; nil if it does.
  func obstacle(to grouping: Grouping) -> String?

  /// What one pass costs every rank: what its stream will send and hold.
  ///
  /// - Parameters:
  ///   - groups: the ranks of each group.
  ///   - hosts: for each rank, the number of its host.
  func traffic(of blocks: TravellingBlocks, groups: [[Int]], hosts: [Int]) -> StreamTraffic

  /// Makes a stream, called by all ranks together.
  func stream(
    of blocks: TravellingBlocks, groups: [[Int]], settings: StreamSettings,
    on world: borrowing Communicator
  ) throws(MPIError) -> any BlockStream

  /// The order in which ranks meet blocks, to measure computing alone.
  func order(of blocks: TravellingBlocks, groups: [[Int]]) -> RingSchedule
}

/// How streams run, whatever they deliver.
package struct StreamSettings {
  /// False ends all transfers before computing, which shows what overlap is worth.
  package let overlaps: Bool
  /// Where spans are noted.
  package let timeline: Timeline?
}
