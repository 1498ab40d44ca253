import Attention
import Reporting
import ScalingModel

extension PredictFields {
  /// What the words of the table mean, and what is fastest.
  static func remarks(on results: [PredictResult]) -> [String] {
    let limits = Set(results.compactMap { Prediction.Limit(rawValue: $0.limit) })
    let words = Prediction.Limit.allCases.filter(limits.contains).compactMap { limit in
      limit.meaning.map { "Lost to \(limit.rawValue): \($0)." }
    }
    let isAbove = results.contains { $0.efficiency > 1.0005 }
    let efficiency =
      isAbove
      ? [
        "Efficiency above 100 %: blocks without a mask, or of a better size, are computed faster "
          + "than one rank would compute the whole in one piece."
      ] : []
    return words + efficiency + fastest(results)
  }

  /// For each pass, what takes least time.
  private static func fastest(_ results: [PredictResult]) -> [String] {
    var passes: [String] = []
    for result in results where !passes.contains(result.pass) { passes.append(result.pass) }
    return passes.compactMap { pass in
      let ofPass = results.filter { $0.pass == pass }
      guard ofPass.count > 1, let best = ofPass.fastest else { return nil }
      let name = passes.count == 1 ? "Fastest" : "Fastest \(pass)"
      let kinds = Set(ofPass.map(\.transport)).count
      let counts = Set(ofPass.map(\.ranks)).sorted()
      // Sequences that grow with the ranks are not compared with each other.
      if Set(ofPass.map(\.tokens)).count > 1 {
        return kinds == 1 ? nil : "\(name): \(listed(choices(ofPass, counts)))."
      }
      let by = kinds == 1 ? "" : "\(best.transport) on "
      let most = counts.last ?? best.ranks
      let more = best.ranks < most ? "; more ranks take longer" : ""
      let all = choices(ofPass, counts)
      let each = all.count > 1 ? " (\(listed(all)))" : ""
      return
        "\(name): \(by)\(counted(best.ranks, "rank")), \(longTime(best.seconds))\(more)\(each)."
    }
  }

  /// The fastest for each number of ranks, those that follow each other together.
  private static func choices(_ results: [PredictResult], _ counts: [Int]) -> [String] {
    var runs: [(transport: String, first: Int, last: Int)] = []
    for count in counts {
      guard let best = results.filter({ $0.ranks == count }).fastest else { continue }
      if let last = runs.last, last.transport == best.transport {
        runs[runs.count - 1].last = count
      } else {
        runs.append((best.transport, count, count))
      }
    }
    return runs.map { run in
      let ranks =
        run.first == run.last
        ? counted(run.first, "rank") : "\(grouped(run.first)) to \(grouped(run.last)) ranks"
      return "\(run.transport) on \(ranks)"
    }
  }
}

extension [PredictResult] {
  /// The first that takes no longer than the others, as far as a prediction can tell.
  var fastest: PredictResult? {
    let least = map(\.seconds).min() ?? 0
    return first { $0.seconds <= least * 1.0005 }
  }
}

extension Prediction.Limit {
  /// What it means, for people; nil where nothing is lost.
  fileprivate var meaning: String? {
    switch self {
    case .none: nil
    case .bandwidth: "links carry fewer bytes than ranks could compute on meanwhile"
    case .latency: "so many steps so short that messages take longer than computing"
    case .heads: "fewer heads than ranks that share them, or a number that they do not divide"
    case .imbalance: "some ranks have more to compute than others, or are slower at times"
    case .kernel: "the pieces of a rank are too small for the kernel's full speed"
    case .cores: "threads share cores and take turns, or slow their neighbours down"
    }
  }
}
