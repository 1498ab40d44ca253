import Foundation
import TestSupport

/// Results files written by hand.
enum ResultsFixture {
  static var environment: [String: Any] {
    [
      "processor": "Made-up 9000", "cores": 8, "memoryBytes": 1 << 34,
      "instructionSet": "avx2",
      "commit": "0123456789abcdef", "gyreVersion": "0.1.0", "openMPI": "Open MPI v4.1.4",
      "openMPIParameters": [String: String](), "oversubscribed": false,
    ]
  }

  /// The text of a results file.
  static func text(
    _ benchmark: String, keys: [String], _ rows: [[String: Any]],
    environment changes: [String: Any] = [:]
  ) throws -> String {
    let report: [String: Any] = [
      "benchmark": benchmark, "keys": keys, "results": rows,
      "environment": environment.merging(changes) { $1 },
    ]
    return String(decoding: try JSONSerialization.data(withJSONObject: report), as: UTF8.self)
  }

  /// A median with a confidence interval of ±`width`.
  static func seconds(_ median: Double, width: Double = 0.01) -> [String: Any] {
    [
      "seconds": median, "secondsLow": median * (1 - width), "secondsHigh": median * (1 + width),
      "spread": width,
    ]
  }

  static func row(_ parts: [String: Any]...) -> [String: Any] {
    parts.reduce(into: [:]) { $0.merge($1) { $1 } }
  }

  private static let scalingKeys = [
    "pass", "ranks", "hosts", "tokens", "tokensPerRank", "transport",
  ]

  /// Rows of strong or weak scaling at these numbers of ranks, of one pass for each transport.
  static func scaling(
    _ benchmark: String, ranks: [Int], transports: [String] = ["ring"],
    environment: [String: Any] = [:]
  ) throws -> String {
    let rows = transports.flatMap { transport in
      ranks.map { count in
        let efficiency = 1 / (1 + 0.05 * Double(count - 1))
        let isWeak = benchmark == "weak"
        let time = isWeak ? 2 / efficiency : 2 / (efficiency * Double(count))
        return row(
          [
            "pass": "forward", "ranks": count, "hosts": 1, "transport": transport,
            "tokens": isWeak ? 4096 * count : 4096, "tokensPerRank": isWeak ? 4096 : 4096 / count,
            "speedup": efficiency * Double(count), "efficiency": efficiency,
            "efficiencyWithoutContention": count > 2 ? 0.9 : NSNull(), "baseline": "one rank",
            "computeSeconds": time * efficiency, "exposedSeconds": time * (1 - efficiency),
            "imbalanceSeconds": 0,
          ], seconds(time))
      }
    }
    return try text(benchmark, keys: scalingKeys, rows, environment: environment)
  }

  /// Three rows of each of the other kinds.
  static func other(_ benchmark: String) throws -> String {
    let rows: [[String: Any]] = [1.0, 4, 16].map { factor in
      let tokens = Int(1024 * factor)
      return switch benchmark {
      case "overlap":
        row(
          [
            "tokens": tokens, "noOverlapSeconds": 1.6 * factor, "computeOnlySeconds": factor,
            "transferSeconds": 0.6 * factor, "hiddenFraction": 0.9,
          ], seconds(1.06 * factor))
      case "kernel":
        row(
          [
            "headDim": tokens / 16, "pass": "forward", "threads": 1, "flopsPerSecond": 8e10,
            "bytesPerSecond": 1e9 * factor, "fmaPeakFlopsPerSecond": 1.2e11,
            "memoryBandwidthBytesPerSecond": 2e10, "fractionOfPeak": 0.66,
          ], seconds(factor))
      case "memory":
        row(
          [
            "tokens": tokens, "tokensPerRank": tokens / 2, "ranks": 2, "transport": "ring",
            "pass": "forward",
            "peakResidentBytes": 2e7 * factor, "formulaBytes": 1e7 * factor,
          ], seconds(factor))
      case "link":
        row(
          [
            "kind": "message", "bytes": tokens, "sameHost": false, "bytesPerSecond": 1e8 * factor,
          ], seconds(1e-5))
      default:
        row(["tokens": tokens, "attention": "dense", "pass": "forward"], seconds(factor * factor))
      }
    }
    let keys = [
      "pass", "tokens", "tokensPerRank", "headDim", "attention", "ranks", "transport", "kind",
      "bytes", "sameHost",
    ]
    return try text(
      benchmark, keys: keys.filter { rows[0][$0] != nil }, rows,
      environment: ["linkBytesPerSecond": 1.25e9])
  }
}

extension TemporaryFolder {
  /// Writes a text and returns its path.
  func text(_ name: String, _ text: String) throws -> String { try file(name, Array(text.utf8)) }
}
