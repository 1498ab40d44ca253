import Glibc
import Reporting
package import Results

/// Results of the same things before and after a change.
package struct Comparison {
  /// One thing that both files have measured.
  struct Change {
    /// Benchmark and keys.
    let identity: [String: JSONValue]
    /// The keys in the order of the report.
    let keys: [String]
    let secondsBefore: Double
    let secondsAfter: Double
    /// Seconds after over seconds before.
    let ratio: Double
    /// From the confidence intervals of both.
    let ratioLow: Double
    let ratioHigh: Double
    let verdict: Verdict
    /// Slower beyond noise and past the threshold.
    let isRegression: Bool
  }

  enum Verdict: String, Encodable {
    case faster, slower, same
  }

  let before: ResultsFile
  let after: ResultsFile
  /// The slowest first.
  let changes: [Change]
  /// What only one of the files has measured.
  let onlyBefore: [ResultRow]
  let onlyAfter: [ResultRow]
  /// What both have, but at least one without a time.
  let untimed: [ResultRow]
  let differences: [EnvironmentDifference]

  /// - Parameters:
  ///   - noise: the change, as a fraction, below which results are the same.
  ///   - threshold: the slowdown, as a fraction, past which it is a regression.
  /// - Throws: where there is nothing to compare.
  package init(_ before: ResultsFile, _ after: ResultsFile, noise: Double, threshold: Double) throws
  {
    self.before = before
    self.after = after
    differences = EnvironmentDifference.between(before, after)
    let shared = Self.sharedKeys(before.rows, after.rows)
    func identity(_ row: ResultRow) -> [String: JSONValue] {
      row.identity.filter {
        $0.key == "benchmark" || shared[row.benchmark]?.contains($0.key) == true
      }
    }
    let earlier = Dictionary(before.rows.map { (identity($0), $0) }) { $1 }
    let later = Dictionary(after.rows.map { (identity($0), $0) }) { $1 }
    var changes: [Change] = []
    var untimed: [ResultRow] = []
    var seen: Set<[String: JSONValue]> = []
    for identity in after.rows.map(identity) where seen.insert(identity).inserted {
      guard let old = earlier[identity], let row = later[identity] else { continue }
      guard let first = old.seconds, let second = row.seconds else {
        untimed.append(row)
        continue
      }
      let ratio = second.median / first.median
      let low = second.low / first.high
      let high = second.high / first.low
      let isSame = (low <= 1 && high >= 1) || max(ratio, 1 / ratio) - 1 < noise
      let verdict = isSame ? Verdict.same : ratio > 1 ? .slower : .faster
      changes.append(
        Change(
          identity: identity, keys: row.keys.filter { identity[$0] != nil },
          secondsBefore: first.median, secondsAfter: second.median, ratio: ratio, ratioLow: low,
          ratioHigh: high, verdict: verdict,
          isRegression: verdict == .slower && ratio > 1 + threshold))
    }
    guard !changes.isEmpty else {
      throw UserError.usage(
        "\(before.path) and \(after.path) have no timed row in common (\(Self.contents(before)); "
          + "\(Self.contents(after))); measure both with the same command.")
    }
    self.changes = changes.sorted { $0.ratio > $1.ratio }
    self.untimed = untimed
    onlyBefore = before.rows.filter { later[identity($0)] == nil }
    onlyAfter = after.rows.filter { earlier[identity($0)] == nil }
  }

  var regressions: [Change] { changes.filter(\.isRegression) }

  /// The geometric mean of the ratios.
  var meanRatio: Double {
    exp(changes.reduce(0) { $0 + log($1.ratio) } / Double(changes.count))
  }

  /// The keys of each benchmark that both files know: others cannot tell whether rows belong
  /// together.
  private static func sharedKeys(
    _ before: [ResultRow], _ after: [ResultRow]
  ) -> [String: Set<String>] {
    var keys: [String: Set<String>] = [:]
    for row in before + after {
      keys[row.benchmark, default: Set(row.keys)].formIntersection(row.keys)
    }
    return keys
  }

  private static func contents(_ file: ResultsFile) -> String {
    let names = Set(file.rows.map(\.benchmark)).sorted().joined(separator: ", ")
    return "\(file.rows.count) of \(names)"
  }
}
