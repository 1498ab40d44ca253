import ArgumentParser
import SequenceParallel

/// The names of backward routes on the command line.
enum BackwardRouteChoice: String, CaseIterable, ExpressibleByArgument {
  case kv, query, auto

  /// What it asks for.
  var route: BackwardRoute {
    switch self {
    case .kv: .keys
    case .query: .queries
    case .auto: .automatic
    }
  }
}

extension BackwardDecision {
  /// The name of what travels on the command line.
  var name: String {
    switch travelling {
    case .keys: BackwardRouteChoice.kv.rawValue
    case .queries: BackwardRouteChoice.query.rawValue
    }
  }
}
