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

  /// One JSON object on one line.
  var json: String {
    get throws {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
      return String(decoding: try encoder.encode(self), as: UTF8.self)
    }
  }

  /// A table.
  var text: String {
    let header = [
      "pass", "mask", "head dim", "tokens", "heads", "type", "threads", "time", "spread",
      "GFLOP/s", "peak a core", "of peak",
    ]
    let rows = results.map { result in
      [
        result.pass.rawValue, result.causal ? "causal" : "full", "\(result.headDim)",
        grouped(result.tokens), "\(result.queryHeads)/\(result.kvHeads)", result.dtype,
        "\(result.threads)", "\(fixed(result.seconds * 1e3, 1)) ms",
        "\(fixed(result.spread * 100, 1)) %", threeDigits(result.flopsPerSecond / 1e9),
        threeDigits(result.fmaPeakFlopsPerSecond / 1e9),
        "\(fixed(result.fractionOfPeak * 100, 1)) %",
      ]
    }
    let build =
      environment.instructionSet.isEmpty ? "" : ", compiled for \(environment.instructionSet)"
    return "\(environment.processor), \(environment.cores) cores\(build)\n\n"
      + table([header] + rows)
  }
}
