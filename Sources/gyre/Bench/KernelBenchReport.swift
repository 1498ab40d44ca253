import ArgumentParser
import Attention
import FoundationEssentials

/// Where a measurement was made.
struct BenchEnvironment: Encodable {
  let processor: String
  let cores: Int
  let instructionSet: String
  let gyreVersion: String

  static var current: BenchEnvironment {
    let model = text(ofFile: "/proc/cpuinfo").split(separator: "\n").first {
      $0.hasPrefix("model name")
    }
    let name = model?.split(separator: ":").last.map { $0.drop { $0 == " " } }
    return BenchEnvironment(
      processor: name.map(String.init) ?? "unknown",
      cores: ProcessInfo.processInfo.activeProcessorCount,
      instructionSet: InstructionSet.name, gyreVersion: Gyre.configuration.version)
  }
}

/// All rows of `gyre bench kernel`.
struct KernelBenchReport: Encodable {
  let environment: BenchEnvironment
  let results: [KernelBenchResult]

  /// The results in a form for people or for programs.
  func formatted(_ format: TableFormat) throws -> String {
    switch format {
    case .text:
      let build = environment.instructionSet
      let compiled = build.isEmpty ? "" : ", compiled for \(build)"
      return "\(environment.processor), \(environment.cores) cores\(compiled)\n\n"
        + table([header] + rows)
    case .markdown:
      let rule = header.map { _ in "---" }
      return ([header, rule] + rows).map { "| \($0.joined(separator: " | ")) |" }
        .joined(separator: "\n")
    case .csv:
      return ([KernelBenchResult.fields] + results.map(\.values))
        .map { $0.joined(separator: ",") }.joined(separator: "\n")
    case .json:
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
      return String(decoding: try encoder.encode(self), as: UTF8.self)
    }
  }

  /// Whether any result is one that memory limits.
  private var showsBandwidth: Bool { results.contains { $0.queries <= 16 } }

  private var header: [String] {
    [
      "pass", "mask", "head dim", "tokens", "heads", "type", "threads", "sums", "time", "spread",
      "GFLOP/s", "peak a core", "of peak",
    ] + (showsBandwidth ? ["queries", "K/V GB/s", "memory GB/s", "of memory"] : [])
  }

  private var rows: [[String]] {
    results.map { result in
      [
        result.pass.rawValue, result.causal ? "causal" : "full", "\(result.headDim)",
        grouped(result.tokens), "\(result.queryHeads)/\(result.kvHeads)", result.dtype,
        "\(result.threads)", result.reproducible ? "reproducible" : "fast",
        "\(threeDigits(result.seconds * 1e3)) ms",
        "\(fixed(result.spread * 100, 1)) %", threeDigits(result.flopsPerSecond / 1e9),
        threeDigits(result.fmaPeakFlopsPerSecond / 1e9),
        "\(fixed(result.fractionOfPeak * 100, 1)) %",
      ]
        + (showsBandwidth
          ? [
            grouped(result.queries), threeDigits(result.bytesPerSecond / 1e9),
            threeDigits(result.memoryBandwidthBytesPerSecond / 1e9),
            "\(fixed(result.fractionOfBandwidth * 100, 1)) %",
          ] : [])
    }
  }
}

extension KernelBenchResult {
  /// The names of the columns of a CSV file, those of the JSON object.
  static let fields = [
    "pass", "headDim", "tokens", "queryHeads", "kvHeads", "causal", "dtype", "threads",
    "reproducible", "seconds", "spread", "flopsPerSecond", "fmaPeakFlopsPerSecond",
    "fractionOfPeak", "queries", "bytesPerSecond", "memoryBandwidthBytesPerSecond",
    "fractionOfBandwidth",
  ]

  /// The values of the columns.
  var values: [String] {
    [
      pass.rawValue, "\(headDim)", "\(tokens)", "\(queryHeads)", "\(kvHeads)", "\(causal)", dtype,
      "\(threads)", "\(reproducible)", "\(seconds)", "\(spread)", "\(flopsPerSecond)",
      "\(fmaPeakFlopsPerSecond)", "\(fractionOfPeak)", "\(queries)", "\(bytesPerSecond)",
      "\(memoryBandwidthBytesPerSecond)",
      "\(fractionOfBandwidth)",
    ]
  }
}
