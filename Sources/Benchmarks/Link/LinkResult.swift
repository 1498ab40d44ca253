import Reporting
import Results

/// One row of the benchmark of links.
package struct LinkResult {
  /// What was sent, or `fit`: the line through the times of messages of all sizes.
  let kind: Kind
  /// The kind of the messages whose times a fit is of.
  let fitOf: Nullable<Kind>
  /// The two ranks of a pair.
  let from: Nullable<Int>
  let to: Nullable<Int>
  let ranks: Int
  let hosts: Int
  /// Whether all that is sent stays on one host.
  let sameHost: Bool
  /// Of a message; null for a fit.
  let bytes: Nullable<Int>
  /// Rounds that count.
  let repeats: Int
  /// Of the operation, the median over rounds; of a pair, half of there and back.
  let seconds: Nullable<Double>
  /// The bounds of its confidence interval.
  let secondsLow: Nullable<Double>
  let secondsHigh: Nullable<Double>
  /// From the first to the third quartile, as a fraction of the median.
  let spread: Nullable<Double>
  /// Bytes that a rank sends, over the seconds.
  let bytesPerSecond: Nullable<Double>
  /// Bytes that the busiest host sends to others, over the seconds; null where none does.
  let linkBytesPerSecond: Nullable<Double>
  /// Processor time of a rank that sends and receives as much, mean over ranks.
  let cpuSeconds: Nullable<Double>
  /// Of a fit: the seconds of a message without bytes, and of each byte.
  let latencySeconds: Nullable<Double>
  let secondsPerByte: Nullable<Double>
  /// Of a fit: the processor time of a message and of a byte, sending and receiving it together.
  let cpuSecondsPerMessage: Nullable<Double>
  let cpuSecondsPerByte: Nullable<Double>

  enum Kind: String, CaseIterable, Encodable {
    case pair, shift, exchange, fit

    /// Those that are measured.
    static let measured = [pair, shift, exchange]
  }
}

extension LinkResult: BenchResult {
  package static let benchmark = "link"

  package static let keys = ["kind", "fitOf", "from", "to", "ranks", "hosts", "sameHost", "bytes"]

  package static let figures = [
    "repeats", "seconds", "secondsLow", "secondsHigh", "spread", "bytesPerSecond",
    "linkBytesPerSecond", "cpuSeconds", "latencySeconds", "secondsPerByte",
    "cpuSecondsPerMessage", "cpuSecondsPerByte",
  ]

  package static let keyColumns = 4
  package static let dispensableColumns = ["processor time", "spread", "MB/s a link"]

  package static func remarks(on results: [LinkResult]) -> [String] {
    [Spread.remark(results.compactMap(\.spread.value))].compactMap { $0 }
  }

  package static func table(of results: [LinkResult]) -> [[String]] {
    let header = [
      "kind", "ranks", "hosts", "bytes", "time", "spread", "MB/s a rank", "MB/s a link",
      "processor time",
    ]
    return [header]
      + results.map { row in
        [
          row.kind.rawValue + (row.fitOf.value.map { " of \($0.rawValue)" } ?? ""), row.members,
          "\(row.sameHost ? 1 : row.hosts)", row.bytes.value.map(grouped) ?? "",
          row.seconds.value.map(microseconds) ?? row.line,
          row.spread.value.map(percent) ?? "",
          (row.bytesPerSecond.value ?? row.secondsPerByte.value.map { 1 / $0 }).map {
            threeDigits($0 / 1e6)
          } ?? "",
          row.linkBytesPerSecond.value.map { threeDigits($0 / 1e6) } ?? "",
          row.cpuSeconds.value.map(microseconds)
            ?? row.cpuSecondsPerByte.value.map { "\(threeDigits($0 * 1e9)) ns/B" } ?? "",
        ]
      }
  }

  private var members: String {
    guard let from = from.value, let to = to.value else { return "\(ranks)" }
    return "\(from)–\(to)"
  }

  private var line: String {
    guard let latency = latencySeconds.value, let slope = secondsPerByte.value else { return "" }
    return "\(microseconds(latency)) + \(threeDigits(slope * 1e9)) ns/B"
  }
}

private func microseconds(_ seconds: Double) -> String { "\(threeDigits(seconds * 1e6)) µs" }
