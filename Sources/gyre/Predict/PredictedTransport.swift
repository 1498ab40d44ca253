import ArgumentParser
import Attention
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
        throw ValidationError("'\(name)' cannot be predicted; name the transports themselves.")
      }
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

extension KernelPass {
  /// The same for the operators.
  var pass: AttentionPass { self == .forward ? .forward : .backward }
}
