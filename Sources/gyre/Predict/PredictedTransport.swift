import ArgumentParser
import Attention
import Benchmarks
import Reporting
import SequenceParallel

/// A transport on the command line of gyre predict.
enum PredictedTransport: Hashable {
  case ring, shared, hierarchical, query, heads
  case mesh(Mesh)

  /// Parses `ring,heads,mesh:8x4`.
  static func parse(_ text: String) throws -> [PredictedTransport] {
    try text.split(separator: ",", omittingEmptySubsequences: false).map { name in
      guard let argument = TransportArgument(argument: String(name)) else {
        throw unknownName(String(name), among: TransportArgument.allValueStrings)
      }
      switch argument.choice {
      case .ring: return .ring
      case .shared: return .shared
      case .hierarchical: return .hierarchical
      case .query: return .query
      case .heads: return .heads
      case .mesh:
        guard let mesh = argument.mesh else {
          throw ValidationError("a mesh needs its numbers here, as mesh:8x4.")
        }
        return .mesh(mesh)
      case .allgather, .auto:
        throw ValidationError(
          argument.choice == .auto
            ? "'auto' stands alone; name transports, or give auto or all by itself."
            : "'\(name)' cannot be predicted; name others, or give all.")
      }
    }
  }

  /// All that hosts of so many ranks have.
  static func all(ranksPerHost: Int) -> [PredictedTransport] {
    [.ring, .shared, .query, .heads]
      + (ranksPerHost == 1 ? [] : [.hierarchical, .mesh(Mesh(heads: ranksPerHost, ring: 1))])
  }

  /// Why it cannot serve some ranks, and what it can.
  func limits(ranksPerHost: Int) -> String {
    switch self {
    case .shared:
      "\(name) serves the ranks of one host, up to \(grouped(ranksPerHost)) with --ranks-per-host "
        + "\(ranksPerHost)"
    case .mesh(let mesh): "\(name) serves multiples of \(grouped(mesh.heads)) ranks"
    case .ring, .hierarchical, .query, .heads: "\(name) serves any number of ranks"
    }
  }

  /// Its name in results; the ring of a mesh grows with the ranks.
  var name: String {
    switch self {
    case .ring: TransportChoice.ring.rawValue
    case .shared: TransportChoice.shared.rawValue
    case .hierarchical: TransportChoice.hierarchical.rawValue
    case .query: TransportChoice.query.rawValue
    case .heads: TransportChoice.heads.rawValue
    case .mesh(let mesh): "\(TransportChoice.mesh.rawValue):\(mesh.heads)xB"
    }
  }

  /// The transport, if it can serve so many ranks.
  ///
  /// A mesh keeps the ranks that share heads, and its ring grows with the ranks.
  func transport(ranks: Int, ranksPerHost: Int) -> Transport? {
    switch self {
    case .ring: .ring
    case .shared: ranks <= ranksPerHost ? .shared : nil
    case .hierarchical: .hierarchical
    case .query: .query
    case .heads: .heads
    case .mesh(let mesh):
      ranks % mesh.heads == 0 ? .mesh(heads: mesh.heads, ring: ranks / mesh.heads) : nil
    }
  }
}

/// What `--transport` of gyre predict takes.
enum TransportRequest: Hashable {
  case named([PredictedTransport])
  /// All that the hosts have.
  case all
  /// Of those the fastest.
  case auto

  /// Parses `all`, `auto`, or `ring,heads,mesh:8x4`.
  init(parsing text: String) throws {
    self =
      switch text {
      case "all": .all
      case "auto": .auto
      default: .named(try PredictedTransport.parse(text))
      }
  }
}

extension KernelPass {
  /// The same for the operators.
  var pass: AttentionPass { self == .forward ? .forward : .backward }
}
