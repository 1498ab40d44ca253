import ArgumentParser
import Benchmarks

/// `--clock wall|cpu`.
extension BenchClock: ExpressibleByArgument {}
