import ArgumentParser
import Attention
import SequenceParallel

/// What `--transport` takes: `auto`, or a route's name, `mesh` or `mesh:AxB`, or both with what
/// travels, joined by `+`, as in `hierarchical+queries` and `mesh:2x4+allgather`.
struct TransportArgument: Hashable, ExpressibleByArgument {
  static let auto = TransportArgument(isAuto: true)
  static let ring = TransportArgument(named: "ring")

  private(set) var isAuto = false
  /// Whether ranks stand in a grid, as a word of its own.
  private(set) var isMesh = false
  /// Its numbers, if they are given.
  private(set) var mesh: Mesh?
  /// The name of a route; of ranks that share heads, that of a column.
  private var base: String?
  /// What travels, if that is said beside the name.
  private var travelling: Travelling?

  private init(isAuto: Bool) { self.isAuto = isAuto }

  /// A route that has a name.
  init(named name: String) { base = name }

  /// A mesh whose columns are rings.
  init(_ mesh: Mesh) {
    isMesh = true
    self.mesh = mesh
  }

  init?(argument: String) {
    if argument == "auto" {
      isAuto = true
      return
    }
    for word in argument.split(separator: "+", omittingEmptySubsequences: false) {
      guard add(String(word)) else { return nil }
    }
    guard base != nil || isMesh, !(isMesh && base == "heads"),
      travelling != .keys || route.travelling == .keys
    else { return nil }
  }

  private mutating func add(_ word: String) -> Bool {
    if let what = Travelling(rawValue: word), travelling == nil {
      travelling = what
    } else if word == "mesh", !isMesh {
      isMesh = true
    } else if word.hasPrefix("mesh:"), !isMesh, let mesh = try? Mesh(parsing: word.dropFirst(5)) {
      isMesh = true
      self.mesh = mesh
    } else if Self.names.contains(word), base == nil {
      base = word
    } else {
      return false
    }
    return true
  }

  /// With what options of their own say.
  ///
  /// - Throws: a sentence if they do not fit.
  func with(_ mesh: Mesh?, _ travelling: Travelling?) throws -> TransportArgument {
    var result = self
    if let mesh {
      guard !isAuto, base != "heads" else {
        throw ValidationError(
          "--mesh is for --transport mesh, or for one that passes blocks in its columns; give both."
        )
      }
      guard self.mesh == nil || self.mesh == mesh else {
        throw ValidationError("--transport and --mesh name different meshes; give one.")
      }
      (result.isMesh, result.mesh) = (true, mesh)
    }
    if let travelling {
      guard !isAuto else {
        throw ValidationError("--travel is for a --transport that has a name; give both.")
      }
      guard (self.travelling ?? travelling) == travelling,
        travelling == .queries || route.travelling == .keys
      else {
        throw ValidationError(
          "--transport \(name) and --travel \(travelling) ask for different things; give one.")
      }
      result.travelling = travelling
    }
    return result
  }

  /// As it was asked for.
  var name: String {
    if isAuto { return "auto" }
    let words = [
      isMesh ? mesh.map { "mesh:\($0)" } ?? "mesh" : nil, base, travelling?.rawValue,
    ]
    return words.compactMap { $0 }.joined(separator: "+")
  }

  /// The route, without the grid of a mesh.
  private var route: Route {
    let route = Route.named.first { $0.name == base }?.route ?? .ring
    return travelling.map(route.with) ?? route
  }

  /// The route on a grid, if one is asked for.
  func route(on mesh: Mesh?) -> Route {
    var route = route
    if let mesh { route.heads = .grid(columns: mesh.heads, rows: mesh.ring) }
    return route
  }

  /// What is asked for; nil if it is to be chosen.
  func resolved(_ topology: Topology, shape: AttentionShape) -> ChosenTransport? {
    if isAuto { return nil }
    guard isMesh else { return ChosenTransport(route) }
    if let mesh { return ChosenTransport(route(on: mesh)) }
    let chosen = Mesh.chosen(topology, shape)
    return ChosenTransport(route(on: chosen.mesh), reason: chosen.reason)
  }

  private static let names = Route.named.map(\.name)

  static var allValueStrings: [String] { names + ["mesh", "auto", "mesh:AxB"] }

  /// The names; what follows `mesh:` is the user's to say.
  static var defaultCompletionKind: CompletionKind { .list(names + ["mesh", "auto"]) }

  var defaultValueDescription: String { name }
}
