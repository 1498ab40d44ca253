import ArgumentParser

/// `gyre bench`: measurements.
struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Measurements.",
    subcommands: [
      KernelBenchCommand.self, LongNetBenchCommand.self, StrongBenchCommand.self,
      WeakBenchCommand.self, OverlapBenchCommand.self, LinkBenchCommand.self,
      MemoryBenchCommand.self, ModelBenchCommand.self, MixBenchCommand.self,
    ])
}
