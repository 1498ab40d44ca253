extension KernelBenchResult: BenchResult {
  static let benchmark = "kernel"

  static let keys = [
    "pass", "headDim", "tokens", "queries", "queryHeads", "kvHeads", "causal", "dtype", "threads",
    "reproducible", "valueHeadDim", "softcap",
  ]

  static let figures = [
    "seconds", "secondsLow", "secondsHigh", "spread", "flopsPerSecond", "fmaPeakFlopsPerSecond",
    "fractionOfPeak", "bytesPerSecond", "memoryBandwidthBytesPerSecond", "fractionOfBandwidth",
  ]

  static func table(of results: [KernelBenchResult]) -> [[String]] {
    // Where memory limits any of them.
    let showsBandwidth = results.contains { $0.queries <= 16 }
    return [header + (showsBandwidth ? bandwidthHeader : [])]
      + results.map { $0.cells + (showsBandwidth ? $0.bandwidthCells : []) }
  }

  private static let header = [
    "pass", "mask", "head dim", "tokens", "heads", "type", "threads", "sums", "time", "spread",
    "GFLOP/s", "peak a core", "of peak",
  ]
  private static let bandwidthHeader = ["queries", "K/V GB/s", "memory GB/s", "of memory"]

  static let columns = header + bandwidthHeader
  static let keyColumns = 8
  static let dispensableColumns = ["queries", "memory GB/s", "peak a core", "spread", "K/V GB/s"]

  static func remarks(on results: [KernelBenchResult]) -> [String] {
    [Spread.remark(results.map(\.spread))].compactMap { $0 }
  }

  private var cells: [String] {
    [
      pass.rawValue, (causal ? "causal" : "full") + (softcap.value == nil ? "" : ", capped"),
      headDims(headDim, valueHeadDim), grouped(tokens),
      "\(queryHeads)/\(kvHeads)", dtype, "\(threads)", reproducible ? "reproducible" : "fast",
      "\(threeDigits(seconds * 1e3)) ms", "\(fixed(spread * 100, 1)) %",
      threeDigits(flopsPerSecond / 1e9), threeDigits(fmaPeakFlopsPerSecond / 1e9),
      "\(fixed(fractionOfPeak * 100, 1)) %",
    ]
  }

  private var bandwidthCells: [String] {
    [
      grouped(queries), threeDigits(bytesPerSecond / 1e9),
      threeDigits(memoryBandwidthBytesPerSecond / 1e9), "\(fixed(fractionOfBandwidth * 100, 1)) %",
    ]
  }
}

/// `128`, or `576/512` if values have another.
func headDims(_ headDim: Int, _ valueHeadDim: Int) -> String {
  headDim == valueHeadDim ? "\(headDim)" : "\(headDim)/\(valueHeadDim)"
}
