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
