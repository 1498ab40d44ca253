import ArgumentParser
import Attention
import Benchmarks
import Reporting
import ScalingModel
import SequenceParallel

/// A transport on the command line of gyre predict.
struct PredictedTransport: Hashable {
  static let ring = PredictedTransport(named: "ring")
  static let hierarchical = PredictedTransport(named: "hierarchical")
  static let query = PredictedTransport(named: "query")
  static let heads = PredictedTransport(named: "heads")

  private let argument: TransportArgument

  private init(named name: String) { argument = TransportArgument(named: name) }

  private init(_ argument: TransportArgument) { self.argument = argument }

  static func mesh(_ mesh: Mesh) -> PredictedTransport {
    PredictedTransport(TransportArgument(mesh))
  }

  /// Parses `ring,heads,mesh:8x4`.
  static func parse(_ text: String) throws -> [PredictedTransport] {
    try text.split(separator: ",", omittingEmptySubsequences: false).map { name in
      guard let argument = TransportArgument(argument: String(name)) else {
        throw unknownName(String(name), among: TransportArgument.allValueStrings)
      }
      guard !argument.isAuto else {
        throw ValidationError(
          "'auto' stands alone; name transports, or give auto or all by itself.")
      }
      guard Cluster.canPredict(argument.route(on: nil)) else {
        throw ValidationError("'\(name)' cannot be predicted; name others, or give all.")
      }
      guard !argument.isMesh || argument.mesh != nil else {
        throw ValidationError("a mesh needs its numbers here, as mesh:8x4.")
      }
      return PredictedTransport(argument)
    }
  }

  /// All that hosts of so many ranks have.
  static func all(ranksPerHost: Int) -> [PredictedTransport] {
    [.ring, PredictedTransport(named: "shared"), .query, .heads]
      + (ranksPerHost == 1 ? [] : [.hierarchical, .mesh(Mesh(heads: ranksPerHost, ring: 1))])
  }

  /// Why it cannot serve some ranks, and what it can.
  func limits(ranksPerHost: Int) -> String {
    if let mesh = argument.mesh {
      return "\(name) serves multiples of \(grouped(mesh.heads)) ranks"
    }
    return argument.route(on: nil).grouping == .all
      ? "\(name) serves the ranks of one host, up to \(grouped(ranksPerHost)) with "
        + "--ranks-per-host \(ranksPerHost)"
      : "\(name) serves any number of ranks"
  }

  /// Its name in results; the ring of a mesh grows with the ranks.
  var name: String {
    guard let mesh = argument.mesh else { return argument.name }
    return "mesh:\(mesh.heads)xB" + argument.name.dropFirst("mesh:\(mesh)".count)
  }

  /// The route, if it can serve so many ranks.
  ///
  /// A mesh keeps the ranks that share heads, and its ring grows with the ranks.
  func route(ranks: Int, ranksPerHost: Int) -> Route? {
    let route = argument.route(
      on: argument.mesh.map { Mesh(heads: $0.heads, ring: ranks / $0.heads) })
    let topology = Topology(ranks: ranks, ranksPerNode: ranksPerHost)
    return (try? route.check(ranks: ranks, topology: topology)) == nil ? nil : route
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
