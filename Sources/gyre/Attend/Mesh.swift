import ArgumentParser
import Attention
import SequenceParallel

/// How many neighbouring ranks share the heads, and how many such groups a ring has: `2x4`.
struct Mesh: Hashable, CustomStringConvertible {
  let heads: Int
  let ring: Int

  var description: String { "\(heads)x\(ring)" }

  init(heads: Int, ring: Int) {
    self.heads = heads
    self.ring = ring
  }

  /// Parses `2x4`.
  init(parsing text: String) throws {
    let numbers = text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
    guard numbers.count == 2, let heads = numbers[0], let ring = numbers[1], heads >= 1, ring >= 1
    else {
      throw ValidationError(
        "give the ranks that share heads and those of a ring, both at least 1, for example 2x4.")
    }
    self.init(heads: heads, ring: ring)
  }

  /// The mesh asked for, or the one for these hosts and heads: an exchange of heads that stays inside
  /// a host, or else one in which every rank has KV heads of its own.
  static func chosen(
    _ mesh: Mesh?, _ topology: Topology, _ shape: AttentionShape
  ) -> ChosenTransport {
    if let mesh { return ChosenTransport(.mesh(heads: mesh.heads, ring: mesh.ring)) }
    let ranks = topology.nodes.reduce(0) { $0 + $1.count }
    let perHost = topology.nodes[0].count
    if topology.nodes.allSatisfy({ $0.count == perHost }), perHost <= shape.queryHeads {
      return ChosenTransport(
        .mesh(heads: perHost, ring: ranks / perHost),
        reason: "\(perHost) ranks share a host's memory")
    }
    let heads = (1...min(ranks, shape.kvHeads)).last { ranks % $0 == 0 } ?? 1
    return ChosenTransport(
      .mesh(heads: heads, ring: ranks / heads),
      reason: "\(heads) of \(shape.kvHeads) KV heads divide")
  }
}

/// What `--transport` takes: a name, or `mesh:AxB`.
struct TransportArgument: ExpressibleByArgument {
  let choice: TransportChoice
  /// The mesh, if it was given with the name.
  let mesh: Mesh?

  init(_ choice: TransportChoice, mesh: Mesh? = nil) {
    self.choice = choice
    self.mesh = mesh
  }

  init?(argument: String) {
    let prefix = TransportChoice.mesh.rawValue + ":"
    if argument.hasPrefix(prefix) {
      guard let mesh = try? Mesh(parsing: String(argument.dropFirst(prefix.count))) else {
        return nil
      }
      self.init(.mesh, mesh: mesh)
    } else {
      guard let choice = TransportChoice(rawValue: argument) else { return nil }
      self.init(choice)
    }
  }

  static var allValueStrings: [String] {
    TransportChoice.allCases.map(\.rawValue) + ["mesh:AxB"]
  }

  /// The names; what follows `mesh:` is the user's to say.
  static var defaultCompletionKind: CompletionKind {
    .list(TransportChoice.allCases.map(\.rawValue))
  }

  var defaultValueDescription: String { choice.rawValue }
}
