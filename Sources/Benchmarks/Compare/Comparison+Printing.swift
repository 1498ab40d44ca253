import Reporting
package import Results

extension Comparison {
  /// The comparison in a form for people or for programs.
  package func formatted(_ format: TableFormat) throws -> String {
    switch format {
    case .text:
      return (notes + ["", table(cells), "", summary]).joined(separator: "\n")
    case .markdown:
      return (notes.map { $0 + "\n" } + [markdownTable(cells), "", summary]).joined(
        separator: "\n")
    case .csv:
      return
        (["what,secondsBefore,secondsAfter,ratio,ratioLow,ratioHigh,verdict,isRegression"]
        + changes.map { change in
          ([csvCell(name(change.identity, change.keys))]
            + [
              change.secondsBefore, change.secondsAfter, change.ratio, change.ratioLow,
              change.ratioHigh,
            ].map { "\($0)" } + [change.verdict.rawValue, "\(change.isRegression)"])
            .joined(separator: ",")
        }).joined(separator: "\n")
    case .json: return try jsonLine(JSONValue.object(document))
    case .jsonl:
      return try changes.map { try jsonLine(JSONValue.object(object($0))) }.joined(separator: "\n")
    }
  }

  /// The rows that are slower past the threshold, for the end of the run.
  package var regressionSentence: String? {
    guard !regressions.isEmpty else { return nil }
    let names = regressions.prefix(3).map {
      "\(name($0.identity, $0.keys)) (\(fixed($0.ratio, 2)) times as long)"
    }
    let more = regressions.count > 3 ? " and \(regressions.count - 3) more" : ""
    return "slower past the threshold: \(names.joined(separator: "; "))\(more)."
      + (differences.concernMachine ? " The machines differ, so it need not be Gyre." : "")
  }

  /// The table, its first row the names of the columns.
  private var cells: [[String]] {
    [["verdict", "what", "before", "after", "ratio", "95 % interval"]]
      + changes.map { change in
        [
          change.verdict.rawValue + (change.isRegression ? " !" : ""),
          name(change.identity, change.keys), formatTime(change.secondsBefore),
          formatTime(change.secondsAfter),
          fixed(change.ratio, 3), "\(fixed(change.ratioLow, 3)) to \(fixed(change.ratioHigh, 3))",
        ]
      }
  }

  /// What a reader should know before the table.
  private var notes: [String] {
    var lines = ["\(before.path) → \(after.path)"]
    if differences.isEmpty {
      lines.append("Both were measured in the same environment.")
    } else {
      let list = differences.map { "\(KeyWording.words($0.name)) \($0.before) → \($0.after)" }
      lines.append("What differs: \(list.joined(separator: "; ")).")
    }
    if differences.concernMachine {
      lines.append("Different machines: slower is then no regression of Gyre by itself.")
    }
    for (file, rows) in [(before, onlyBefore), (after, onlyAfter)] where !rows.isEmpty {
      lines.append("Only in \(file.path): \(names(rows)).")
    }
    if !untimed.isEmpty { lines.append("Without a time: \(names(untimed)).") }
    for file in [before, after] where file.replaced > 0 {
      lines.append(
        "\(file.path): of rows that are measured again further down (\(file.replaced)), the last "
          + "counts."
      )
    }
    return lines
  }

  private var summary: String {
    let counts = [Verdict.slower, .same, .faster].map { verdict in
      "\(changes.count { $0.verdict == verdict }) \(verdict.rawValue)"
    }
    return
      "\(counts.joined(separator: ", ")); times of \(after.path) are \(fixed(meanRatio, 3)) of "
      + "those before (geometric mean)."
  }

  /// How many rows, and the first of them.
  private func names(_ rows: [ResultRow]) -> String {
    let first = rows.prefix(3).map { name($0.identity, $0.keys) }.joined(separator: "; ")
    return "\(grouped(rows.count)) (\(first)\(rows.count > 3 ? "; …" : ""))"
  }

  /// The keys that tell this row from others; the benchmark's name if there are none.
  private func name(_ identity: [String: JSONValue], _ keys: [String]) -> String {
    let all = (before.rows + after.rows).map(\.identity)
    let benchmark = identity["benchmark"]?.string ?? ""
    let ofBenchmark = all.filter { $0["benchmark"] == identity["benchmark"] }
    let text = KeyWording.phrase(KeyWording.distinguishing(keys, of: ofBenchmark), of: identity)
    let isMixed = ofBenchmark.count < all.count
    return text.isEmpty ? benchmark : isMixed ? "\(benchmark): \(text)" : text
  }

  private var document: [String: JSONValue] {
    [
      "before": .string(before.path), "after": .string(after.path),
      "environmentDifferences": .array(
        differences.map {
          .object([
            "name": .string($0.name), "before": .string($0.before), "after": .string($0.after),
          ])
        }),
      "rows": .array(changes.map { .object(object($0)) }),
      "onlyBefore": .array(onlyBefore.map { .object($0.identity) }),
      "onlyAfter": .array(onlyAfter.map { .object($0.identity) }),
      "meanRatio": .number(meanRatio), "regressions": .integer(regressions.count),
    ]
  }

  private func object(_ change: Change) -> [String: JSONValue] {
    var members = change.identity
    members["secondsBefore"] = .number(change.secondsBefore)
    members["secondsAfter"] = .number(change.secondsAfter)
    members["ratio"] = .number(change.ratio)
    members["ratioLow"] = .number(change.ratioLow)
    members["ratioHigh"] = .number(change.ratioHigh)
    members["verdict"] = .string(change.verdict.rawValue)
    members["isRegression"] = .bool(change.isRegression)
    return members
  }
}
