/// What travels where in one pass: four answers, each independent of the others.
///
/// Usual answers have names, such as ``ring``, and a name is a start: `Route.hierarchical` with
/// ``travelling`` set to `.queries` sends queries from host to host.
/// `check(ranks:topology:backward:)` says which combinations make no sense, and why.
///
/// A way that is not there yet is a ``Delivery`` in a file of its own (`Docs/Extend-Route.md`).
public struct Route: Hashable, Sendable {
  /// What goes to the other side of attention; that stays.
  public var travelling: Travelling
  /// Which ranks read each other's blocks in place.
  public var grouping: Grouping
  /// How blocks get from group to group.
  public var delivery: Delivery
  /// Who shares the heads.
  ///
  /// Where ranks do, the other three answers are about the ranks that have the same heads.
  public var heads: HeadSharing

  /// Keys travel round a ring of single ranks, unless something else is said.
  public init(
    travelling: Travelling = .keys, grouping: Grouping = .alone, delivery: Delivery = .rotating,
    heads: HeadSharing = .nobody
  ) {
    self.travelling = travelling
    self.grouping = grouping
    self.delivery = delivery
    self.heads = heads
  }

  /// The same route for something else.
  public func with(_ travelling: Travelling) -> Route {
    var route = self
    route.travelling = travelling
    return route
  }
}

/// What travels.
public enum Travelling: String, Hashable, Sendable, CaseIterable {
  /// Keys and values past queries; backward, their gradients after them.
  case keys
  /// Queries past keys and values, and outputs or gradients after them.
  case queries
}

/// Which ranks read each other's blocks in place.
public enum Grouping: Hashable, Sendable {
  /// None: each rank is a group.
  case alone
  /// Those of a host, so that a block comes to a host once.
  case hosts
  /// All, which needs a single host: nothing is sent.
  case all
}

/// Who shares the heads.
public enum HeadSharing: Hashable, Sendable {
  /// Each rank computes all heads.
  case nobody
  /// Each of all ranks computes some heads for the tokens of all, as in DeepSpeed-Ulysses.
  case everybody
  /// Ranks stand in a grid, as in USP: the `columns` neighbouring ranks of a row share the heads
  /// out among them, and blocks travel among the `rows` ranks of a column. There are
  /// `columns · rows` ranks.
  case grid(columns: Int, rows: Int)
}

/// Routes with names.
extension Route {
  /// From each rank to the next, P − 1 hops.
  public static let ring = Route()
  /// Ranks of one host read each other's blocks in shared memory.
  public static let shared = Route(grouping: .all)
  /// Shared memory inside a host, a ring between hosts: a block crosses each link once a host.
  public static let hierarchical = Route(grouping: .hosts)
  /// From each rank to all at once: few steps, and memory for all blocks.
  public static let allgather = Route(delivery: .direct)
  /// Queries go from each rank to the one before, and outputs after them; keys and values stay.
  ///
  /// For few queries against many keys.
  public static let query = Route(travelling: .queries)
  /// Each rank computes some heads for the tokens of all: a `mesh` of one row.
  public static let heads = Route(heads: .everybody)

  /// Each of `heads` neighbouring ranks computes some heads for the tokens of all of them; blocks
  /// of its heads go round a ring of `ring` such groups.
  ///
  /// There are `heads · ring` ranks.
  public static func mesh(heads: Int, ring: Int) -> Route {
    Route(heads: .grid(columns: heads, rows: ring))
  }

  /// All names that need no numbers, as the command line has them.
  public static let named: [(name: String, route: Route)] = [
    ("ring", .ring), ("shared", .shared), ("hierarchical", .hierarchical),
    ("allgather", .allgather), ("query", .query), ("heads", .heads),
  ]
}

extension Route: CustomStringConvertible {
  /// As the command line has it: a name, or a mesh, and what else is different, as `query`,
  /// `hierarchical+queries`, `mesh:2x4`, `mesh:2x4+allgather`.
  public var description: String {
    var column = self
    column.heads = .nobody
    return switch heads {
    case .nobody: column.nameOfColumn
    case .everybody: Self.heads == self ? "heads" : "heads+\(column.nameOfColumn)"
    case .grid(let columns, let rows):
      "mesh:\(columns)x\(rows)" + (column == .ring ? "" : "+\(column.nameOfColumn)")
    }
  }

  private var nameOfColumn: String {
    if let name = Self.named.first(where: { $0.route == self })?.name { return name }
    let keys = with(.keys)
    let name = Self.named.first { $0.route == keys }?.name ?? "\(grouping)-\(delivery.name)"
    return travelling == .keys ? name : "\(name)+\(travelling)"
  }
}
