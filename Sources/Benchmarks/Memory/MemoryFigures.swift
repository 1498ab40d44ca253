import Reporting

/// What came out in the benchmark of memory.
package struct MemoryFigures {
  /// Of the slowest rank, once.
  let seconds: Double
  /// Of the rank that had most.
  let peakResidentBytes: Int
  /// What that rank had before the first: the process and MPI.
  let processBytes: Int
  /// What its tensors take at most by the formula.
  let formulaBytes: Double
  /// The peak without what was there before, over the formula.
  let ratio: Double
  /// Whether the peak is that of this row; where the system refuses, it is the largest so far.
  let peakReset: Bool
}

extension MemoryFigures: AttentionFigures {
  package static let benchmark = "memory"

  package static let names = [
    "seconds", "peakResidentBytes", "processBytes", "formulaBytes", "ratio", "peakReset",
  ]

  package static let header = ["time", "peak a rank", "of it before", "by the formula", "ratio"]

  package static let dispensable = ["time", "of it before"]
  package static func remarks(on results: [AttentionResult<MemoryFigures>]) -> [String] { [] }

  package var cells: [String] {
    [
      milliseconds(seconds), formatBytes(Double(peakResidentBytes)) + (peakReset ? "" : " so far"),
      formatBytes(Double(processBytes)), formatBytes(formulaBytes), fixed(ratio, 2),
    ]
  }
}
